"""Integrated gradients: what each unit contributes while a network goes from a baseline to inputs.

Two paths lead there. Along the *inputs* the embedding moves in a straight line, and the hidden
units go wherever that takes them: the contribution of a hidden unit is its conductance. Along the
*site* the hidden units themselves move in a straight line, and what lies before them stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor

from nissl.errors import NisslError, UnknownName
from nissl.network.gradients.at_sites import Gradients, gradients
from nissl.network.run.forward import single_call, visited
from nissl.network.run.replay import replaying
from nissl.network.run.restart import Restart, continued, cut

if TYPE_CHECKING:
    from nissl.network.run.calls import Call
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.hooks import Fired
    from nissl.network.sites.site import Site

__all__ = ["IntegratedGradients", "integrated_gradients"]

Baseline: TypeAlias = "float | Tensor | Mapping[str, Tensor | float]"


@dataclass(frozen=True)
class IntegratedGradients:
    """Contributions of the units of sites to a metric, and what they should sum to.

    Parameters
    ----------
    metric : Tensor, shape ()
        The number, of the inputs.
    baseline : dict of str to Tensor, each shape ()
        The number at the beginning of each site's path, by full name.
    attributions : dict of str to Tensor, each shape (batch, place..., unit)
        The contribution of every value of each site, in the metric's units.
    values : dict of str to Tensor, each shape (batch, place..., unit)
        The values at the inputs.
    """

    metric: Tensor
    baseline: dict[str, Tensor]
    attributions: dict[str, Tensor]
    values: dict[str, Tensor]

    def __getitem__(self, site: str) -> Tensor:
        return self.attributions[site]

    @property
    def gap(self) -> dict[str, float]:
        """How far each site's contributions are from summing to the metric less its baseline.

        Near zero along the site, and along the inputs where all that the inputs do passes through
        the site; there it falls as one over the square of the steps.
        """
        gone = {name: float(self.metric - start) for name, start in self.baseline.items()}
        return {name: float(self[name].sum()) - gone[name] for name in gone}


def integrated_gradients(
    net: BaseNetwork,
    inputs: Any,
    *,
    sites: str | Iterable[str],
    metric: Callable[[Any], Tensor],
    path: Literal["inputs", "site"] = "inputs",
    baseline: Baseline = 0.0,
    start: str | None = None,
    steps: int = 20,
    from_position: int | None = None,
    padding: str = "right",
) -> IntegratedGradients:
    """Integrate gradients at sites along a path from a baseline to the inputs.

    Parameters
    ----------
    net : Network
        The network; edits in force hold along the path.
    inputs : text, chat messages, token ids, images, tensor, or mapping of arguments
        One batch.
    sites : str or iterable of str
        Where.
    metric : callable
        As in `gradients`: given the logits, or what the model returns where it has none, returns
        one number. A sum over the batch gives each item its own contributions.
    path : {"inputs", "site"}
        What moves in a straight line: the embedded inputs (conductance), or each site by itself.
    baseline : number, Tensor, or mapping of site to either
        Where the path begins: anything that broadcasts to the activity of the site that moves.
    start : str, optional
        The site that moves along ``path="inputs"``: by default ``embed``, or the model's input
        where it has none.
    steps : int
        Into how many parts the path is cut. The model runs once more than that; along the site as
        often as that from each site on, and once for all.
    from_position : int, optional
        Move this position and those behind it alone, as in `restart`; what is returned has them
        alone.
    padding : {"right", "left"}
        Where shorter texts are filled up.

    Returns
    -------
    IntegratedGradients
        ``found["blocks.3.mlp.neurons"]`` are contributions, shape (batch, place..., unit); of a
        site that is computed several times, shape (batch, call, ...).

    Raises
    ------
    NisslError
        A site never fires, cannot be written, or is computed before the one that moves; what moves
        is not floating or is computed several times; the baseline does not fit; the metric is not
        one number or not finite, or a gradient is not finite.

    Notes
    -----
    The rule is the trapezoid's: the mean gradient of two neighbouring points of the path times the
    change of the unit between them.

    Source: Sundararajan et al. 2017 (integrated gradients); Dhamdhere et al. 2019, equation 2
    (conductance), as the sum of Shrikumar et al. 2018; Dai et al. 2022, equation 3 (the site's own
    path, from zero).

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network
    >>> net = Network(nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU()))
    >>> _ = nn.init.constant_(net.model[0].weight, 1.0)
    >>> found = integrated_gradients(net, torch.ones(1, 2), sites="1", metric=lambda y: y.sum())
    >>> found["1"].tolist()
    [[2.0, 2.0]]
    """
    if steps < 1:
        raise NisslError(f"steps={steps} cuts no path", do="give steps=1 or more")
    if path not in ("inputs", "site"):
        raise UnknownName("path", str(path), ("inputs", "site"), do="choose inputs or site")
    if path == "site" and start is not None:
        raise NisslError("start= is of path='inputs': along the site each site moves itself")
    names = [site.name for site in net.find(sites)]
    call, cache = single_call(net, inputs, padding=padding), None
    if from_position is not None:
        call, cache = cut(net, call, from_position)
    end: Gradients | None = None
    if path == "inputs":
        start = start or ("embed" if "embed" in net.named_sites else ":in")
        moves = {net.find(start)[0].name: names}
    else:
        moves = {name: [name] for name in names}
        # All paths end in the network as it is.
        end = gradients(net, continued(call, cache), sites=names, metric=metric)
    parts = [
        _along(net, call, cache, name, _of(net, baseline, name), wanted, metric, steps, end)
        for name, wanted in moves.items()
    ]
    return IntegratedGradients(
        parts[-1].metric,
        {name: part.baseline[name] for part in parts for name in part.baseline},
        {name: part.attributions[name] for part in parts for name in part.baseline},
        {name: part.values[name] for part in parts for name in part.baseline},
    )


def _along(
    net: BaseNetwork,
    call: Call,
    cache: Any,
    start: str,
    baseline: Tensor | float,
    names: list[str],
    metric: Callable[[Any], Tensor],
    steps: int,
    end: Gradients | None,
) -> IntegratedGradients:
    """Go along the path on which one site moves, to its end where that is known."""
    again = Restart(net, call, net.find(start)[0], cache)
    line = _line(again.values, baseline, start)
    total: dict[str, Tensor] = {}
    last: Gradients | None = None
    for step in range(steps + 1):
        if end is not None and step == steps:
            now = end
        else:
            with replaying(again.prefix), _written(net, again, line(step / steps)) as fired:
                now = gradients(net, continued(call, cache), sites=names, metric=metric)
            if fired.calls[start] > 1:
                raise NisslError(
                    "a site that moves is computed several times in a run", where=start
                )
        if not bool(torch.isfinite(now.metric)):
            raise NisslError(f"the metric is {float(now.metric)} on the path", where=start)
        if last is None:
            first = now.metric
            total = {name: torch.zeros_like(_wide(now.values[name])) for name in names}
        else:
            for name in names:
                change = _wide(now.values[name]) - _wide(last.values[name])
                slope = (_wide(now[name]) + _wide(last[name])) / 2
                # Not a number marks experts that were not called: they contributed nothing.
                part = torch.where(change.isnan(), 0.0, slope * change)
                # At zero the slope of a norm is 1 / sqrt(eps): over 30 layers that is beyond
                # float32, and what came of it in SmolLM2 was silently not a number.
                if not bool(torch.isfinite(part).all()):
                    raise NisslError(
                        f"a gradient is not finite at step {step} of the path",
                        where=name,
                        do="begin away from zero, where norms are steep: baseline= the mean of "
                        "the site's activity, or what it is on other inputs",
                    )
                total[name] += part
        last = now
    assert last is not None
    values = {name: last.values[name] for name in names}
    return IntegratedGradients(last.metric, dict.fromkeys(names, first), total, values)


def _written(net: BaseNetwork, again: Restart, values: Tensor) -> AbstractContextManager[Fired]:
    """Write values at the site where a run begins again."""

    def write(site: Site, x: Tensor) -> Tensor:
        return values.clone()

    return visited(net, [(again.site, write)], gradients=True)


def _line(end: Tensor, baseline: Tensor | float, site: str) -> Callable[[float], Tensor]:
    """Return the straight line from a baseline to the activity of a site."""
    if not end.is_floating_point():
        raise NisslError(
            "whole numbers cannot move in a straight line",
            where=site,
            do="give start= a site behind the embedding",
        )
    try:
        begin = torch.as_tensor(baseline, dtype=end.dtype, device=end.device).expand(end.shape)
    except (RuntimeError, TypeError) as error:
        raise NisslError(
            f"the baseline does not broadcast to activity of {tuple(end.shape)}",
            where=site,
            do="give one number, one for each unit, or a tensor of the site's shape",
        ) from error
    return lambda far: torch.lerp(begin, end, far)


def _of(net: BaseNetwork, baseline: Baseline, site: str) -> Tensor | float:
    if not isinstance(baseline, Mapping):
        return baseline
    by_name = {s.name: value for name, value in baseline.items() for s in net.find(name)}
    if site not in by_name:
        raise NisslError("no baseline is given for a site", where=site, do="give one for each")
    return by_name[site]


def _wide(x: Tensor) -> Tensor:
    """Half floats lose small changes: float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
