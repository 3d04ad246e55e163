"""What kind of unit each one is, by rules that are stated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Rules", "unit_kinds"]


@dataclass(frozen=True)
class Rules:
    """The thresholds by which units of a network are named.

    Parameters
    ----------
    q : float
        Corrected p below which a preference counts.
    agreement : float
        Share of a unit's most extreme samples, at the sign of the preference, that are the token
        or the pair it prefers.
    position : float
        Share of variance explained by position.
    language : float
        Effect of the label of documents.
    dead_tokens : int
        Samples without which a unit that was never active is not called dead.

    Examples
    --------
    >>> Rules().words(share=0.01)["positional"]
    'position explains at least 20% of its variance'
    """

    q: float = 0.01
    agreement: float = 0.5
    position: float = 0.2
    language: float = 2.0
    dead_tokens: int = 100_000

    def words(self, *, share: float) -> dict[str, str]:
        """Return what each kind means.

        Parameters
        ----------
        share : float
            Share of the layer's output beyond which a unit counts as active.

        Returns
        -------
        dict of str
            A sentence for each kind, ``active`` and ``dead_rule``.
        """
        most = f"at least {self.agreement:.0%} of its most extreme samples"
        return {
            "active": (
                "above zero where the nonlinearity is a ReLU; otherwise |activity| x norm of "
                f"its output weights above {share:.0%} of the median norm of the layer's "
                "output; above zero where a site has no output weights"
            ),
            "dead": f"never active in at least {self.dead_tokens:,} samples",
            "dead_rule": f"never active in at least {self.dead_tokens:,} samples",
            "positional": f"position explains at least {self.position:.0%} of its variance",
            "token": f"prefers one token (q < {self.q:g}), which is {most}",
            "bigram": f"prefers a pair of neighbouring tokens (q < {self.q:g}), which is {most}",
            "language": (
                f"prefers documents of one label (q < {self.q:g}, effect of at least "
                f"{self.language:g})"
            ),
            "unexplained": (
                "no single token, pair, kind of document or place is that much of it; it may still "
                "respond to tokens, which its page lists"
            ),
            "untested": (
                "no token, pair or kind of document lies in enough documents to be tested (five); "
                "only place was asked"
            ),
        }

    def settings(self) -> dict[str, Any]:
        """Return the thresholds.

        Returns
        -------
        dict
            By name.
        """
        return asdict(self)


def unit_kinds(
    units: pd.DataFrame,
    rules: Rules,
    *,
    agreement: NDArray[Any] | None = None,
    pair_agreement: NDArray[Any] | None = None,
) -> NDArray[np.str_]:
    """Return the kind of every unit.

    Parameters
    ----------
    units : DataFrame, n_units rows
        With the columns of ``units.parquet`` that are there.
    rules : Rules
        The thresholds. The first that holds, in the order dead, positional, token, bigram,
        language, is the kind; a pair goes before its token where it is not less often among the
        extremes by a tenth.
    agreement, pair_agreement : array, shape (n_units,), optional
        Share of the extremes that are the preferred token, or pair.

    Returns
    -------
    array of str, shape (n_units,)
        Names among `nissl.atlas.tables.KINDS`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"dead": [True, False], "position_share": [0.0, 0.9]})
    >>> unit_kinds(table, Rules()).tolist()
    ['dead', 'positional']
    """
    n = len(units)
    none = np.zeros(n)
    own = none if agreement is None else agreement
    pair = none if pair_agreement is None else pair_agreement

    def column(name: str, missing: float) -> NDArray[Any]:
        return units[name].to_numpy(float) if name in units else np.full(n, missing)

    token = (column("token_q", 1.0) < rules.q) & (own >= rules.agreement)
    bigram = (column("bigram_q", 1.0) < rules.q) & (pair >= rules.agreement)
    # A pair holds its token: where nearly all places of the token are the pair, the pair it is.
    token &= ~(bigram & (pair >= own - 0.1))
    language = (column("language_q", 1.0) < rules.q) & (
        column("language_effect", 0.0) >= rules.language
    )
    kinds = np.full(n, "unexplained", "U11")
    for name, holds in (
        ("language", language),
        ("bigram", bigram),
        ("token", token),
        ("positional", column("position_share", 0.0) >= rules.position),
        ("dead", units["dead"].to_numpy(bool)),
    ):
        kinds[holds] = name
    return kinds
