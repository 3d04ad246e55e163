"""Transcoders: features that read one site and write another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nissl.errors import NisslError
from nissl.features.dictionary import TrainedDictionary
from nissl.features.fit import Schedule, fit, opened
from nissl.features.kinds.kind import Kind, kind_of
from nissl.methods import method

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["transcoder"]


@method(system=191)
def transcoder(
    rec: Recording,
    to: Recording,
    *,
    n_features: int,
    k: int | None = None,
    kind: Kind | str = "topk",
    schedule: Schedule = Schedule(),
    seed: int = 0,
    progress: bool = True,
) -> TrainedDictionary:
    """Learn features that read one site and write another: a sparse, wide MLP in its place.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity of one site that is read, such as what an MLP is given; a store is streamed.
    to : Recording, shape (n_samples, n_units)
        Activity of another that is written, of the same samples.
    n_features, k, kind, schedule, seed, progress
        As in `sae`.

    Returns
    -------
    TrainedDictionary
        A `Dictionary` of two sites.

    Raises
    ------
    NisslError
        The two have other samples, or as in `sae`.

    Notes
    -----
    Source: Dunefsky et al. 2024, Transcoders find interpretable LLM feature circuits.

    Examples
    --------
    >>> into, out = (open_store("acts.zarr", site)  # doctest: +SKIP
    ...              for site in ("blocks.5.resid_mid", "blocks.5.mlp.out"))
    >>> found = transcoder(into, out, n_features=4608)  # doctest: +SKIP
    """
    if len(rec) != len(to):
        raise NisslError(f"{len(rec)} samples are read, {len(to)} written", do="give the same")
    both = opened(rec, None), opened(to, None)
    return fit(both, [(n_features, kind_of(kind, k=k))], schedule, seed, progress)[0]
