"""Sparse autoencoders: dictionaries learned from activity, one or several in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from nissl.errors import NisslError
from nissl.features.dictionary import TrainedDictionary
from nissl.features.fit import Schedule, fit, opened
from nissl.features.kinds.kind import Kind, kind_of
from nissl.methods import method

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["sae", "sweep"]


@method(system=159)
def sae(
    rec: Recording | str | Path,
    *,
    n_features: int,
    k: int | None = None,
    kind: Kind | str = "topk",
    site: str | None = None,
    schedule: Schedule = Schedule(),
    seed: int = 0,
    progress: bool = True,
) -> TrainedDictionary:
    """Learn features of activity, few of which are active at a time.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units), or path of a store
        Activity of one site, or of any units: neurons, voxels, cells. A store is streamed.
    n_features : int
        How many features.
    k : int, optional
        Active in a sample: 32 of the kinds that are told, "relu" and "gated" are not.
    kind : Kind or {"topk", "batch_topk", "matryoshka", "jump_relu", "relu", "gated"}
        Its activation and penalty.
    site : str, optional
        Which site of a store that has several.
    schedule : Schedule
        Samples, batch size, learning rate.
    seed : int
        Of first weights and order.
    progress : bool
        Show a bar.

    Returns
    -------
    TrainedDictionary
        A `Dictionary` of the site, for ``net.with_dictionary``.

    Raises
    ------
    NisslError
        Activity is not finite or does not vary, there are several sites, or the kind does not fit.
    TooFewSamples
        There are fewer samples than a batch.

    Notes
    -----
    Activity is scaled so that its variance is its width; the error is in shares of the variance.
    Source: Bricken et al. 2023; Cunningham et al. 2023; each kind names its own.

    Examples
    --------
    >>> found = sae("acts.zarr", n_features=4608, k=32)  # doctest: +SKIP
    >>> seen = net.with_dictionary(found)  # doctest: +SKIP
    """
    wanted = [(n_features, kind_of(kind, k=k))]
    return fit((opened(rec, site),), wanted, schedule, seed, progress)[0]


def sweep(
    rec: Recording | str | Path,
    *,
    n_features: Iterable[int],
    k: Iterable[int | None] = (None,),
    kinds: Iterable[Kind | str] = ("topk",),
    site: str | None = None,
    schedule: Schedule = Schedule(),
    seed: int = 0,
    progress: bool = True,
) -> dict[str, TrainedDictionary]:
    """Learn several dictionaries in one pass over the data, each as `sae` learns it alone.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units), or path of a store
        As in `sae`.
    n_features, k, kinds : iterables
        Every size with every k and every kind; a kind that is given whole has its k already.
    site, schedule, seed, progress
        As in `sae`.

    Returns
    -------
    dict of str to TrainedDictionary
        By what tells them apart, such as "topk, 4608 features, k=32": `worth` takes them so.

    Raises
    ------
    NisslError
        As in `sae`.

    Examples
    --------
    >>> found = sweep("acts.zarr", n_features=[1152, 4608], k=[16, 64])  # doctest: +SKIP
    >>> worth(found, net, held_out)  # doctest: +SKIP
    """
    wanted: dict[str, tuple[int, Kind]] = {}
    for kind, size, active in product(list(kinds), list(n_features), list(k)):
        made = kind_of(kind, k=active)
        name = f"{kind}, {size} features"
        wanted[name if active is None else f"{name}, k={active}"] = size, made
    if not wanted:
        raise NisslError("no dictionary is asked for", do="give n_features=[1152, 4608]")
    made_all = fit((opened(rec, site),), [*wanted.values()], schedule, seed, progress)
    return dict(zip(wanted, made_all, strict=True))
