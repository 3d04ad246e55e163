"""States of units: what each contributes to the certainty of the output, between 0 and 1.

The *influence* of a unit on the output for an input is its activity times the gradient, at it, of
how far the output is from a uniform guess. Its *state* is that number brought between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, UnknownName
from nissl.progress import progress_bar
from nissl.recording import as_recording
from nissl.recording.units_by_site import units_by_site

if TYPE_CHECKING:
    from nissl.network import Network
    from nissl.recording import Recording

__all__ = ["activation_states", "influence"]

Array = NDArray[np.floating[Any]]


def influence(
    net: Network,
    inputs: Any,
    *,
    sites: str | Iterable[str],
    batch_size: int = 128,
    progress: bool = True,
) -> Recording:
    """Record each unit's activity times the gradient of the output's divergence from a guess.

    Parameters
    ----------
    net : Network
        A classifier.
    inputs : images, tensor, or mapping of tensors
        What it reads. Labelled images give the coordinate ``label``.
    sites : str or iterable of str
        Where. In a convolution map a unit is a channel: its activity is the mean over places, and
        its gradient what moving it at all places would do.
    batch_size : int
        Inputs in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Recording, shape (n_inputs, n_units)
        Of quantity "attribution": in nats, for the activity to change by its own size.

    Raises
    ------
    NisslError
        The inputs are texts, the network gives no classes, or an influence is not finite.

    Notes
    -----
    Source: Liu et al. 2024, equation 2: the divergence is KL(u || p), with u uniform over the
    classes and p the softmax of the logits. The paper has the mean of the gradient over places; the
    sum, which does not depend on the size of the map, differs from it by a factor that alpha has.

    Examples
    --------
    >>> import torch
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(4, 3)))
    >>> influence(net, torch.randn(5, 4), sites="0", progress=False).shape
    (5, 4)
    """
    from nissl.network import plan_of
    from nissl.network.gradients import gradients
    from nissl.network.run.plan import steps

    found = net.find(sites)
    plan = plan_of(net, inputs, batch_size=batch_size)
    if plan.tokens:
        raise NisslError("texts are not inputs of one class each", do="give images or a tensor")
    rows: dict[str, list[Array]] = {site.name: [] for site in found}
    with progress_bar(
        f"Asking {net.name}", total=plan.n_items, unit="inputs", progress=progress
    ) as advance:
        for _, step in steps(plan, net):
            given = gradients(net, step.call, sites=sites, metric=_divergence)
            for name, x in given.values.items():
                rows[name].append(_pooled(x, given[name]))
            advance(len(rows[found[0].name][-1]))
    columns: dict[str, list[Any]] = {"site": [], "layer": [], "index": []}
    for site in found:
        width = rows[site.name][0].shape[1]
        columns["site"] += [site.name] * width
        columns["layer"] += [-1 if site.layer is None else site.layer] * width
        columns["index"] += list(range(width))
    values = np.concatenate([np.concatenate(rows[site.name]) for site in found], axis=1)
    if not np.isfinite(values).all():
        where = int(np.argmin(np.isfinite(values).all(axis=0)))
        raise NisslError(
            "an influence is not finite",
            where=f"{columns['site'][where]}[{columns['index'][where]}]",
            do="look for inputs or weights that are not finite",
        )
    samples = plan.samples()
    return as_recording(values, samples=samples, units=columns, quantity="attribution")


def activation_states(rec: Recording, *, alpha: float | Mapping[str, float]) -> Recording:
    """Bring influences between 0 and 1.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        What `influence` returns.
    alpha : float or mapping of str to float
        How steeply, above 0; one number, or one for each site, whose influences differ in size.

    Returns
    -------
    Recording, shape (n_samples, n_units)
        ``1 / (1 + exp(-alpha x))``: 0.5 where a unit does nothing, above it where more of it would
        make the network surer.

    Raises
    ------
    NisslError
        An alpha is not above 0.
    UnknownName
        A site has no alpha.

    Notes
    -----
    Source: Liu et al. 2024, equation 2.

    Examples
    --------
    >>> activation_states(as_recording([[0.0, 0.1]]), alpha=10).values.round(3).tolist()
    [[0.5, 0.731]]
    """
    from scipy.special import expit

    steepness = np.ones(rec.sizes["unit"], rec.dtype if rec.dtype.kind == "f" else np.float64)
    for site, columns in units_by_site(rec).items():
        if isinstance(alpha, Mapping) and site not in alpha:
            raise UnknownName("site", site, list(alpha), do=f"give alpha= for '{site}' as well")
        steepness[columns] = alpha[site] if isinstance(alpha, Mapping) else alpha
    if not ((steepness > 0) & np.isfinite(steepness)).all():
        raise NisslError(f"alpha={alpha} is not above 0", do="give a number such as 100")
    states = rec.copy(data=expit(rec.values * steepness))
    return states.assign_attrs(quantity="activity")


def _divergence(logits: Any) -> Any:
    """Return KL(u || p) but for a constant, summed over the batch."""
    import torch

    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise NisslError(
            f"the network gives {shape}, not a row of classes for each input",
            do="give a classifier",
        )
    return -logits.float().log_softmax(-1).mean(-1).sum()


def _pooled(activity: Any, gradient: Any) -> Array:
    """Return the product of the mean activity and the whole gradient, shape (batch, unit)."""
    if activity.ndim > 2:
        activity, gradient = activity.flatten(1, -2).mean(1), gradient.flatten(1, -2).sum(1)
    return np.asarray((activity * gradient).float().cpu().numpy())
