"""Gradient SAE: features that the network's loss depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nissl.errors import NisslError
from nissl.features.dictionary import TrainedDictionary
from nissl.features.fit import Schedule, fit, opened
from nissl.features.kinds.kind import kind_of
from nissl.methods import method

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["gradient_sae"]


@method(system=111)
def gradient_sae(
    rec: Recording,
    gradients: Recording,
    *,
    n_features: int,
    k: int | None = None,
    schedule: Schedule = Schedule(),
    seed: int = 0,
    progress: bool = True,
) -> TrainedDictionary:
    """Learn features that the network's loss depends on: see `GradientTopK`.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity of one site.
    gradients : Recording, shape (n_samples, n_units)
        Of the loss there, of the same samples: `nissl.behaviour.loss_gradients`.
    n_features, k, schedule, seed, progress
        As in `sae`.

    Returns
    -------
    TrainedDictionary
        It encodes without gradients, by the k largest.

    Raises
    ------
    NisslError
        The two have other samples or units, or as in `sae`.

    Notes
    -----
    Source: Olmo et al. 2024, Features that make a difference.

    Examples
    --------
    >>> slopes = loss_gradients(net, texts, site="blocks.15.resid_post")  # doctest: +SKIP
    >>> found = gradient_sae(acts, slopes, n_features=4608)  # doctest: +SKIP
    """
    if rec.shape != gradients.shape:
        raise NisslError(f"activity {rec.shape}, gradients {gradients.shape}", do="of one site")
    wanted = [(n_features, kind_of("gradient_topk", k=k))]
    data = opened(rec, None)
    return fit((data,), wanted, schedule, seed, progress, beside=(gradients,))[0]
