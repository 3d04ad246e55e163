"""Lazy neurons: of a ReLU's activations few are nonzero, and training made it so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.recording import check
from nissl.recording.chunks import chunks
from nissl.recording.units_by_site import units_by_site
from nissl.statistics import Finding, Test, against_null

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["lazy"]

NULL = "networks that were never trained"


@method(system=69)
def lazy(rec: Recording, *, untrained: Sequence[Recording] | None, test: Test = Test()) -> Finding:
    """Measure the share of nonzero activations of each layer, against networks without training.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity of MLP neurons of the ReLU family, of one layer or several, told apart by the
        coordinate ``site``.
    untrained : sequence of Recording, or None
        The same units of networks of the same architecture with fresh weights, on the same inputs
        (`ReinitialisedNetwork`); two or more. p cannot go below 1 / (n + 1). With None there is no
        null and no p.
    test : Test
        Tail, correction over layers; the draws are `untrained`.

    Returns
    -------
    Finding
        One row for each layer (``unit`` is its site): ``nonzero``, the share of activations that
        are not zero; null mean, effect, p, q (of being as sparse without training); ``busiest``,
        the share of samples at which its most active unit is nonzero; ``dead``, the share of units
        that are nonzero at no sample here; ``site``, and ``layer`` where the recording has it.

    Raises
    ------
    NisslError
        No activation is exactly zero, a number is not finite, or `untrained` has other units.

    Notes
    -----
    A layer may be sparse because few units ever fire (``dead``) or because all fire seldom
    (``busiest``): the paper finds the latter.

    Source: Li et al. 2022, section 2; the test against fresh weights is ours.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> def relu(shift):
    ...     return as_recording(np.maximum(rng.standard_normal((200, 30)) - shift, 0))
    >>> found = lazy(relu(1.5), untrained=[relu(0) for _ in range(19)])
    >>> found.table[["nonzero", "null_mean", "p"]].round(2).values.tolist()
    [[0.07, 0.5, 0.05]]
    """
    import pandas as pd

    shares = _shares(rec)
    if all((share == 1).all() for share in shares.values()):
        raise NisslError(
            "no activation is exactly zero",
            do="give neurons of the ReLU family; for others there is ppl_sparsity",
        )
    sites, score = list(shares), np.asarray([share.mean() for share in shares.values()])
    if untrained is None:
        found = Finding(pd.DataFrame({"unit": sites, "nonzero": score}), "lazy", "none")
    else:
        names = rec["unit"].values
        for other in untrained:
            if not np.array_equal(other["unit"].values, names):
                raise NisslError(
                    "an untrained network has other units",
                    where=str(other.attrs.get("network", "untrained")),
                    do="record the same sites of the same architecture",
                )
        draws = [[share.mean() for share in _shares(other).values()] for other in untrained]
        found = against_null(
            score,
            draws,
            units=sites,
            score="nonzero",
            method="lazy",
            null=NULL,
            alternative="less",
            test=test,
        )
    columns: dict[str, Any] = {
        "busiest": [share.max() for share in shares.values()],
        "dead": [(share == 0).mean() for share in shares.values()],
        "site": sites,
    }
    if "layer" in rec.coords:
        columns["layer"] = [int(rec["layer"].values[c[0]]) for c in units_by_site(rec).values()]
    said = {"n_samples": rec.sizes["sample"], "nonzero": float(score.mean())}
    return found.assign(said, **columns)


def _shares(rec: Recording) -> dict[str, NDArray[np.float64]]:
    """Return for each layer how often each unit is nonzero, shape (n_units,)."""
    check(rec)
    count: NDArray[Any] = np.zeros(rec.sizes["unit"])
    for chunk in chunks(rec):
        if not np.isfinite(chunk.values).all():
            raise NisslError(
                "an activation is not finite",
                where=str(rec.attrs.get("network", "")),
                do="leave out units that were not computed, such as experts that were not called",
            )
        count += (chunk.values != 0).sum(axis=0)
    share = count / max(rec.sizes["sample"], 1)
    return {site or "all units": share[columns] for site, columns in units_by_site(rec).items()}
