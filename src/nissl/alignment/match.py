"""Match: units of two networks that answer alike to the same stimuli."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from nissl.errors import require_known
from nissl.methods import method
from nissl.progress import tracked
from nissl.recording import Recording
from nissl.recording.align import require_aligned
from nissl.recording.units_by_site import by_site
from nissl.statistics import Finding, Test, against_null
from nissl.statistics.partners import mutual_partners, paired_units
from nissl.statistics.sample_orders import sample_orders
from nissl.statistics.series import units_of

__all__ = ["match"]

PAIRS = {"mutual": mutual_partners, "one_to_one": paired_units}


@method(system=220)
def match(
    a: Recording | ArrayLike,
    b: Recording | ArrayLike,
    *,
    on: str = "stimulus",
    pairs: Literal["mutual", "one_to_one"] = "mutual",
    exchange: str | ArrayLike | None = None,
    test: Test | None = Test(),
    progress: bool = True,
) -> Finding:
    """Find the unit of another network that is most correlated with each unit.

    Parameters
    ----------
    a, b : Recording or array, shape (n_stimuli, n_units)
        Activity of the same stimuli, or of the same places in images. A store is streamed.
    on : str
        The sample coordinate that says which sample is which.
    pairs : {"mutual", "one_to_one"}
        The partner is the unit most correlated, and ``mutual`` says whether each is the other's;
        or every unit has a partner of its own, chosen so that the correlations' sum is largest.
    exchange : str or array, shape (n_stimuli,), optional
        Blocks of samples that are permuted together, such as the places of one image.
    test : Test or None
        Draws (19) of samples permuted, tail, correction over units, seed: the best of as many
        partners by chance. None: no null. A rotated basis is another null, of whether units are
        special: match the rotated activity too.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        A row for each unit of `a`: ``partner``, size and ``sign`` of their ``correlation``,
        ``mutual``, effect, p, q.

    Raises
    ------
    NotExchangeable
        Samples hang together in time and no blocks were declared.
    NisslError
        Samples do not agree, or there are too many pairs for "one_to_one".

    Notes
    -----
    Units that do not vary have no partner. Source: Dravid et al. 2023, Rosetta neurons, section 3.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((50, 6))
    >>> match(x, -x[:, ::-1], progress=False).table["partner"].tolist()[:2]
    ['unit[5]', 'unit[4]']
    """
    require_known("pairs", pairs, tuple(PAIRS))
    x, y = (z if isinstance(z, Recording) else by_site(np.asarray(z))["first"] for z in (a, b))
    require_aligned({"first": x}, {"second": y}, on=on)
    partner, r, mutual = PAIRS[pairs](x, y)
    units, others = units_of(x, x.shape[1]), units_of(y, y.shape[1])
    named = np.where(partner >= 0, others["unit"].to_numpy()[partner], "")
    table = units.assign(partner=named, sign=np.sign(r).astype(int), mutual=mutual)
    if test is None:
        size = {"correlation": np.abs(r)}
        return Finding(table.assign(**size), "match", "none", score="correlation")
    orders, null = sample_orders(x, y, test, n=19, exchange=exchange)
    shuffled = tracked(orders, "Matching", unit="draws", progress=progress)
    draws = [np.abs(PAIRS[pairs](x[order], y)[1]) for order in shuffled]
    how: Any = {"score": "correlation", "method": "match", "null": null, "test": test}
    return against_null(np.abs(r), draws, units=table, alternative="greater", **how)
