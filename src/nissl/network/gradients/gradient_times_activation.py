"""Gradient times activation: what each unit adds to a number, to first order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.gradients.at_sites import gradients
from nissl.network.record.recording_of import recording_of
from nissl.network.run.plan import plan_of, steps
from nissl.progress import progress_bar

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.recording import Recording

__all__ = ["gradient_times_activation"]

Array = np.ndarray[Any, Any]


def gradient_times_activation(
    net: BaseNetwork,
    inputs: Any,
    *,
    sites: str | Iterable[str],
    metric: Callable[[Any], Tensor],
    batch_size: int = 128,
    progress: bool = True,
) -> Recording:
    """Record each unit's activity times the gradient, at it, of a number of each input.

    Parameters
    ----------
    net : Network
        The network.
    inputs : images, tensor, or mapping of tensors
        What it reads. Labelled images give the coordinate ``label``.
    sites : str or iterable of str
        Where. In a convolution map a unit is a channel: its activity is the mean over places, and
        its gradient what moving it at all places would do.
    metric : callable
        Given the logits, or what the model returns where it has none, returns a number of each
        input, shape (batch,).
    batch_size : int
        Inputs in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Recording, shape (n_inputs, n_units)
        Of quantity "attribution", in the units of the metric.

    Raises
    ------
    NisslError
        The inputs are texts, or an attribution is not finite.

    Examples
    --------
    >>> import torch
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(4, 3)))
    >>> rec = gradient_times_activation(
    ...     net, torch.randn(5, 4), sites="0", metric=lambda y: y[:, 1], progress=False
    ... )
    >>> rec.shape
    (5, 4)
    """
    found = net.find(sites)
    plan = plan_of(net, inputs, batch_size=batch_size)
    if plan.tokens:
        raise NisslError("texts are not inputs of one number each", do="give images or a tensor")
    rows: dict[str, list[Array]] = {site.name: [] for site in found}
    with progress_bar(
        f"Asking {net.name}", total=plan.n_items, unit="inputs", progress=progress
    ) as advance:
        for _, step in steps(plan, net):
            given = gradients(net, step.call, sites=sites, metric=lambda y: metric(y).sum())
            for name, x in given.values.items():
                rows[name].append(_pooled(x, given[name]))
            advance(len(rows[found[0].name][-1]))
    values = {name: np.concatenate(parts) for name, parts in rows.items()}
    rec = recording_of(net, values, samples=plan.samples(), quantity="attribution")
    finite = np.isfinite(rec.values).all(axis=0)
    if not finite.all():
        raise NisslError(
            "an attribution is not finite",
            where=str(rec["unit"].values[np.argmin(finite)]),
            do="look for inputs or weights that are not finite",
        )
    return rec


def _pooled(activity: Any, gradient: Any) -> Array:
    """Return the product of the mean activity and the whole gradient, shape (batch, unit)."""
    if activity.ndim > 2:
        activity, gradient = activity.flatten(1, -2).mean(1), gradient.flatten(1, -2).sum(1)
    return np.asarray((activity * gradient).float().cpu().numpy())
