"""Feature absorption: a feature of a concept is silent where a more special one carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError
from nissl.statistics.sparse_probing import largest_differences

if TYPE_CHECKING:
    from nissl.network import Dictionary

__all__ = ["absorption"]

COSINE, SHARE, N_DRAWS = 0.1, 0.4, 20


def absorption(
    dictionary: Dictionary,
    activity: ArrayLike,
    concept: ArrayLike,
    *,
    learned: ArrayLike,
    k: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Count where the features of a concept are silent while another feature carries it.

    Parameters
    ----------
    dictionary : Dictionary
        Of one site.
    activity : array, shape (n_samples, n_units)
        At that site.
    concept : array of bool, shape (n_samples,)
        Where it is there, such as in tokens that begin with a letter.
    learned : array of bool, shape (n_samples,)
        Where a probe is fitted and features are chosen; the others, of other words, are tested.
    k, seed : int
        How many features are the concept's own, those whose means differ most; and of chance.

    Returns
    -------
    dict
        ``main``: these features. Of the ``n`` tested samples with the concept that a logistic probe
        of all units finds: the share in which they are ``silent``, and in which it is ``absorbed``
        besides: of what others add along the probe one gives 0.4 or more, and its cosine to the
        probe is 0.1 or more. ``chance``: the same where features trade directions. ``by``: the
        feature that absorbs most often, -1 for none.

    Raises
    ------
    NisslError
        The dictionary is a transcoder, or a part has no sample with the concept or without.

    Notes
    -----
    Source: Chanin et al. 2024, A is for absorption; thresholds, in place of ablations, of Karvonen
    et al. 2025, SAEBench.

    Examples
    --------
    >>> absorption(found, acts.values, starts_with_s, learned=half)["absorbed"]  # doctest: +SKIP
    0.16
    """
    from sklearn.linear_model import LogisticRegression

    x = np.asarray(activity, dtype=np.float32)
    on, fit = (np.asarray(part, dtype=bool) for part in (concept, learned))
    if dictionary.site_in != dictionary.site_out or len({*on[fit], 2}) < 3:
        raise NisslError("a transcoder, or what is learned from has not both classes")
    with torch.no_grad():
        parts = torch.from_numpy(x).to(dictionary.directions.device).split(4096)
        sizes = torch.cat([dictionary.encode(part).cpu() for part in parts]).numpy()
    probe = LogisticRegression(max_iter=1000, class_weight="balanced").fit(x[fit], on[fit])
    main, some = largest_differences(sizes[fit], on[fit], k), ~fit & on & probe.predict(x)
    if not some.any():
        raise NisslError("the probe finds the concept in no tested sample", do="give more samples")
    silent = (sizes[some][:, main] <= 0).all(1)
    others = np.where(np.isin(np.arange(sizes.shape[1]), main), 0, sizes[some])
    rows = dictionary.directions.detach().cpu().numpy()
    along = rows @ probe.coef_[0] / np.linalg.norm(probe.coef_)
    both = np.stack([along, along / np.maximum(np.linalg.norm(rows, axis=1), 1e-9)])
    absorbed, by = _absorbed(others, both)
    rng = np.random.default_rng(seed)
    traded = [_absorbed(others, rng.permutation(both, axis=1))[0] for _ in range(N_DRAWS)]
    shares = {"silent": silent, "absorbed": silent & absorbed, "chance": silent & traded}
    most = np.bincount(by[silent & absorbed]).argmax() if (silent & absorbed).any() else -1
    said = {name: float(np.mean(share)) for name, share in shares.items()}
    return {"main": main.tolist(), "n": int(some.sum()), **said, "by": int(most)}


def _absorbed(sizes: NDArray[Any], along: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Say in which samples one feature gives most of what is added along the probe, and which."""
    gives = np.maximum(sizes * along[0], 0)
    by, most = gives.argmax(1), gives.max(1)
    return (most > 0) & (most >= SHARE * gives.sum(1)) & (along[1][by] >= COSINE), by
