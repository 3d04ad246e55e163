"""Inputs that drive units, directions or any objective most, by gradient ascent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.gradients.ascent import Ascent, Free
from nissl.network.run.calls import Call
from nissl.network.run.forward import run
from nissl.network.run.plan import Plan, plan_of, steps
from nissl.network.sites.layout import reads_time_first
from nissl.network.sites.modes import evaluated
from nissl.network.sites.site import Part, site_of_unit
from nissl.progress import progress_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nissl.network.sites.base import BaseNetwork

__all__ = ["Synthesis", "synthesise"]

Array = NDArray[np.floating[Any]]
NOISE, TRIES = 64, 20  # random inputs beside natural ones; draws of a start with a gradient


@dataclass(frozen=True)
class Synthesis:
    """Stimuli (n, ...), as the network reads them, and the `activity` (n,) of their objectives.

    `trace` (n_steps, n) is that before each step; `natural` and `random` (n,) are of the best of
    natural inputs and of as much noise of the same norm; `latents` are what a generator was given.
    """

    objectives: tuple[str, ...]
    stimuli: Array
    activity: Array
    trace: Array
    natural: Array | None = None
    random: Array | None = None
    latents: Array | None = None

    def plot(self, n: int = 6) -> Figure:
        """Draw the first stimuli, images each over its own range, and objectives over steps."""
        from nissl.statistics.figure import curve, panels

        n = min(n, len(self.stimuli))
        figure, axes = panels(n + 1, size=3)
        for k, x in enumerate(self.stimuli[:n]):
            if x.ndim == 3 and len(x) in (1, 3):
                shown = (x - x.min()) / max(float(np.ptp(x)), 1e-12)
                axes[k].imshow(shown.transpose(1, 2, 0), cmap="gray")
                axes[k].axis("off")
            else:
                axes[k].plot(x.reshape(len(x), -1))
            beside = {"natural": self.natural, "random": self.random}
            more = "".join(f", {name} {v[k]:.3g}" for name, v in beside.items() if v is not None)
            axes[k].set_title(f"{self.objectives[k]}\n{self.activity[k]:.3g}{more}", fontsize=8)
        curve({str(k): course for k, course in enumerate(self.trace.T[:n])}, axes=axes[n])
        axes[n].set(xlabel="step", ylabel="objective")
        return figure


def synthesise(
    net: BaseNetwork,
    objective: Any,
    *,
    start: Any,
    generator: Callable[[Tensor], Tensor] | str | None = None,
    natural: Any = None,
    ascent: Ascent = Ascent(),
    seed: int = 0,
    progress: bool = True,
) -> Synthesis:
    """Synthesise inputs that drive units most; edits in force are seen.

    Parameters
    ----------
    net : Network
        Any whose input is one tensor of numbers: images, vectors, series.
    objective : str, pair, or list of them
        The address of a unit; (site, direction), a vector over units; or (site or list of sites,
        function) of the activity of one stimulus, shape (place..., unit), or a dict of these, that
        returns one number. Units and directions are meant over places. Each has its stimulus.
    start : tuple of int, or array, shape (n, ...)
        The shape of one input (of a latent), drawn as noise; or where to begin. One objective from
        several starts shows how far what is reached depends on them.
    generator : callable or "fourier", optional
        Makes inputs of latents. "fourier": the frequencies of images are optimised, as strong as in
        natural images (decorrelated). By default the input itself.
    natural : images, Tensor or array, shape (n_inputs, ...), optional
        Inputs to compare with.
    ascent : Ascent
        Steps, rate, limit and jitter.
    seed : int
        Of noise and jitter.
    progress : bool
        Show a bar.

    Returns
    -------
    Synthesis
        Stimuli and activity reached. A start without gradient (a closed ReLU) is drawn anew.

    Raises
    ------
    NisslError
        It reads tokens; there is no such unit, or no gradient; a number is not finite.

    Notes
    -----
    Source: Olah et al. 2017, Feature visualization; colours are not decorrelated. What training
    made is seen beside units of a `ReinitialisedNetwork`.

    Examples
    --------
    >>> from nissl.network import Network
    >>> net = Network(torch.nn.Sequential(torch.nn.Linear(2, 1)))
    >>> net.model[0].weight.data = torch.tensor([[3.0, 4.0]])
    >>> found = synthesise(net, "0[0]", start=(2,), ascent=Ascent(limit=1.0), progress=False)
    >>> [round(float(x), 2) for x in found.stimuli[0]]
    [0.6, 0.8]
    """
    if net.vocabulary_size is not None:
        raise NisslError("it reads tokens, between which there is no gradient", where=net.name)
    goals = [_Goal(net, o) for o in (objective if isinstance(objective, list) else [objective])]
    free = Free(net, start, ascent, how=generator, n=len(goals))
    if len(goals) not in (1, free.shape[0]):
        raise NisslError(f"there are {len(goals)} objectives for {free.shape[0]} starts")
    goals = goals * (free.shape[0] // len(goals))
    sites = list(dict.fromkeys(site for goal in goals for site in goal.sites))
    made: Any = generator if callable(generator) else torch.Tensor.clone
    rng, time_first = torch.Generator().manual_seed(seed), reads_time_first(net.model)

    def laid(x: Tensor) -> Tensor:
        return (x.transpose(0, 1) if time_first else x).to(net.dtype)

    def reached(x: Tensor, jitter: int = 0) -> Tensor:
        if jitter and x.ndim != 4:
            raise NisslError("jitter moves images alone, (channel, height, width)")
        if jitter:
            x = x.roll(torch.randint(-jitter, jitter + 1, (2,), generator=rng).tolist(), (2, 3))
        activity = run(net, Call((laid(x),)), sites=sites, gradients=x.requires_grad)
        values = torch.stack([goal(activity, k) for k, goal in enumerate(goals)])
        if not bool(torch.isfinite(values).all()):
            raise NisslError("an objective is not finite", where=", ".join(sites))
        return values

    def best(plan: Plan) -> Array:
        found = []
        for _, step in steps(plan, net):
            activity = run(net, step.call, sites=sites)
            found += [[float(goal(activity, k)) for goal in goals] for k in range(len(step.items))]
        return np.array(found).max(axis=0)  # type: ignore[no-any-return]

    def slope(u: Tensor, trace: list[Array]) -> Tensor:
        values = reached(made(free(u.requires_grad_())), ascent.jitter)
        if not values.requires_grad:
            raise NisslError("no gradient reaches the input", where=", ".join(sites))
        trace.append(values.detach().cpu().numpy())
        (found,) = torch.autograd.grad(values.sum(), u)
        return found

    trace: list[Array] = []
    mode = evaluated(generator) if isinstance(generator, torch.nn.Module) else nullcontext()
    bar = progress_bar("Synthesising", total=ascent.steps, unit="steps", progress=progress)
    with torch.inference_mode(False), torch.enable_grad(), mode, bar as advance:
        u = free.begin(rng)
        for t in range(TRIES):
            shut = (slope(u, []) == 0).flatten(1).all(1)
            if not bool(shut.any()):
                break
            if t == TRIES - 1:
                name = goals[int(shut.nonzero()[0])].name
                raise NisslError("the gradient is zero wherever it began", where=name)
            u = torch.where(shut.view(-1, *[1] * (u.ndim - 1)), free.begin(rng, fresh=True), u)
            u = u.detach()
        for t in range(ascent.steps):
            rate = ascent.rate * (1 - t / ascent.steps)
            u = u.detach() + free.step(slope(u, trace), rate)
            advance(1)
        stimuli = made(x := free(u)).detach()
        beside: dict[str, Array] = {}
        if natural is not None:
            plan = plan_of(net, natural)
            noise = made(free.noise(x, min(plan.n_items, NOISE), rng)).detach()
            beside = {"natural": best(plan), "random": best(plan_of(net, laid(noise)))}
    return Synthesis(
        tuple(goal.name for goal in goals),
        stimuli.cpu().numpy(),
        reached(stimuli).cpu().numpy(),
        np.stack(trace),
        latents=x.cpu().numpy() if callable(generator) else None,
        **beside,
    )


class _Goal:
    """An objective: its name, the sites that it reads, and its value for one item of a batch."""

    def __init__(self, net: BaseNetwork, objective: Any) -> None:
        address = isinstance(objective, str)
        if not address and not (isinstance(objective, tuple) and len(objective) == 2):
            raise NisslError(f"{objective!r:.60} is no objective", do="give a unit's address")
        if address:
            net.find(objective)  # an index that the site does not have is refused
        site, how = site_of_unit(objective) if address else objective
        found = net.find(site)
        self.one, self.sites = isinstance(site, str), [one.name for one in found]
        if any(isinstance(one, Part) for one in found) or (self.one and len(found) > 1):
            raise NisslError(f"'{site}' is not one site", do="give its full name")
        self.name = objective if address else ", ".join(self.sites)
        self.how: Any = how if callable(how) else partial(_mean, how=how, where=self.name)

    def __call__(self, activity: dict[str, Tensor], k: int) -> Tensor:
        own = {site: activity[site][k].float() for site in self.sites}
        value = self.how(own[self.sites[0]] if self.one else own)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise NisslError("the objective gives no number", where=self.name)
        return value.reshape(())


def _mean(x: Tensor, *, how: Any, where: str) -> Tensor:
    """Return the mean over places of a unit, or along a direction."""
    n = x.shape[-1]
    if not (how < n if isinstance(how, int) else np.shape(how) == (n,)):
        raise NisslError(f"the site has {n} units", where=where)
    if isinstance(how, int):
        return x[..., how].mean()
    return (x @ torch.as_tensor(how, dtype=x.dtype, device=x.device)).mean()
