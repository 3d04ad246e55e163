"""A recording in which there is nothing to find: its labels permuted as under the null."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nissl.recording.labels import coordinate
from nissl.statistics.nulls import PermutedLabels

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["permute_labels"]


def permute_labels(
    rec: Recording,
    *,
    labels: str,
    null: PermutedLabels = PermutedLabels(),
    seed: int = 0,
) -> Recording:
    """Return a recording with its labels permuted once.

    A method that is given it finds what it finds by chance; and what is planted in it is all there
    is to be found.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity.
    labels : str
        Sample coordinate that is permuted.
    null : PermutedLabels
        ``within`` and ``exchange`` name the coordinates that say what may be exchanged.
    seed : int
        The seed.

    Returns
    -------
    Recording
        The same activity under other labels.

    Raises
    ------
    UnknownName
        `null` names a coordinate that is not there.

    Examples
    --------
    >>> import numpy as np
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.zeros((4, 1)), samples={"kind": list("aabb"), "text": [0, 1, 0, 1]})
    >>> other = permute_labels(rec, labels="kind", null=PermutedLabels(within="text"))
    >>> sorted(other["kind"].values.tolist())
    ['a', 'a', 'b', 'b']
    """
    names = coordinate(rec, labels)
    exchange = None if null.exchange is None else coordinate(rec, null.exchange)
    within = None if null.within is None else coordinate(rec, null.within)
    order = null.draw(names, 1, exchange=exchange, within=within, seed=seed)[0]
    return rec.assign_coords({labels: rec[labels].variable[order]})
