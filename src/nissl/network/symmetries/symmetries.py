"""Symmetries: permutations of units that leave the output of a network as it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nissl.errors import NisslError, UnknownName
from nissl.methods import method
from nissl.network.symmetries.axis import Axis
from nissl.network.symmetries.reorder import Permutations, permuted, rewritten
from nissl.network.symmetries.trace import Trace, call, tensors_of, weights_of

__all__ = ["Symmetries", "found_in", "symmetries"]


@dataclass(frozen=True, repr=False)
class Symmetries:
    """The groups of units of a network that may be permuted, each by a permutation of its own.

    Parameters
    ----------
    sizes : dict of str to int
        Units of each group, which is named by the first axis of a parameter that it is in,
        "layer1.weight[0]"; where an axis is made of several, such as heads and places in them, a
        colon and a number follow.
    axes : dict of str to tuple of Axis
        Of each parameter and buffer that takes part, how each axis is made of groups.
    unknown : tuple of str
        Operations without a rule, whose inputs are held fixed.
    """

    sizes: dict[str, int]
    axes: dict[str, tuple[Axis, ...]]
    unknown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = [f"Symmetries of {len(self.sizes)} groups"]
        for group, members in self.groups.items():
            said = ", ".join(f"{name}[{axis}]" for name, axis in members[:4])
            more = f" and {len(members) - 4} more" if len(members) > 4 else ""
            lines.append(f"  {group} ({self.sizes[group]} units): {said}{more}")
        return "\n".join(lines)

    @property
    def groups(self) -> dict[str, list[tuple[str, int]]]:
        """The axes, (name of the parameter or buffer, axis), that each group permutes."""
        found: dict[str, list[tuple[str, int]]] = {group: [] for group in self.sizes}
        for name, axes in self.axes.items():
            for i, axis in enumerate(axes):
                for group in dict.fromkeys(leaf.name for leaf in axis.leaves() if leaf.name):
                    found[group].append((name, i))
        return found

    def identity(self) -> dict[str, NDArray[np.intp]]:
        """Return the permutations that leave every unit in its place."""
        return {group: np.arange(n) for group, n in self.sizes.items()}

    def random(self, *, seed: int = 0) -> dict[str, NDArray[np.intp]]:
        """Return a random permutation of every group.

        Parameters
        ----------
        seed : int
            Of the draw.

        Returns
        -------
        dict of str to array, shape (n_units,)
            ``new[i] = old[permutation[i]]``.
        """
        rng = np.random.default_rng(seed)
        return {group: rng.permutation(n) for group, n in self.sizes.items()}

    def permute(self, model: nn.Module, permutations: Permutations) -> nn.Module:
        """Return a copy of a model with its units in another order.

        Parameters
        ----------
        model : nn.Module
            The one whose symmetries these are, or another of its architecture.
        permutations : mapping of str to array, shape (n_units,)
            Of some of the groups: ``new[i] = old[permutation[i]]``.

        Returns
        -------
        nn.Module
            It computes what the model computes.
        """
        for group, order in permutations.items():
            n = self.sizes.get(group)
            if n is None:
                raise UnknownName("group", group, self.sizes, do=", ".join(self.sizes))
            if not np.array_equal(np.sort(order), np.arange(n)):
                raise NisslError(f"an order that is no permutation of {n} units", where=group)
        every = {**self.identity(), **{k: np.asarray(v) for k, v in permutations.items()}}
        return rewritten(model, permuted(weights_of(model), self.axes, every))


@method(system=324)
def symmetries(
    model: nn.Module, example: Any, *, fixed: str | Iterable[str] = (), seed: int = 0
) -> Symmetries:
    """Find the axes of weights that share a permutation, and prove each by running it permuted.

    The model runs once on the example, and permutations are followed through every operation:
    axes that meet in an addition, a product or a norm are one; axes of inputs and outputs, places
    in an image or a text, and what an operation mixes in another way are held fixed. A view
    that splits an axis into heads makes it a permutation of whole heads and one of places in each.

    Parameters
    ----------
    model : nn.Module
        Any; it is not changed.
    example : Tensor, tuple or dict
        What it is called on: an argument, a tuple of them, or a dict of them by name.
    fixed : str or iterable of str
        Groups, parameters or buffers to hold fixed; ``*`` stands for anything.
    seed : int
        Of the weights and permutations of the proof.

    Returns
    -------
    Symmetries
        Groups that change nothing, of two units or more.

    Raises
    ------
    NisslError
        The output changes when a group is permuted, which it names: the model computes in ways
        that cannot be followed, such as through NumPy.

    Notes
    -----
    The proof takes weights drawn about the model's own, since a gain of zero would hide a fault.

    Source: Ainsworth et al. 2023, whose groups are written down by hand; the tracing is ours.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> symmetries(model, torch.zeros(5, 3)).groups
    {'0.weight[0]': [('0.weight', 0), ('0.bias', 0), ('2.weight', 1)]}
    """
    return found_in(Trace(model, example), model, example, fixed, seed)


def found_in(
    trace: Trace, model: nn.Module, example: Any, fixed: str | Iterable[str], seed: int
) -> Symmetries:
    """Return the groups of a run, named and proven.

    Parameters
    ----------
    trace : Trace
        Of a run of the model on the example.
    model : nn.Module
        What ran.
    example : Tensor, tuple or dict
        What it ran on.
    fixed : str or iterable of str
        As in `symmetries`.
    seed : int
        Of the proof.

    Returns
    -------
    Symmetries
        As `symmetries` returns them.
    """
    found = _named(trace, [fixed] if isinstance(fixed, str) else list(fixed))
    _prove(model, example, found, seed)
    return found


def _named(trace: Trace, patterns: list[str]) -> Symmetries:
    """Return the groups of a run, named by the parameters that have them; `patterns` are held."""
    used: set[str] = set()

    def held(name: str) -> bool:
        hits = {p for p in patterns if fnmatch(name, p.replace("[", "[[]"))}
        used.update(hits)
        return bool(hits)

    for name, axes in trace.parameters.items():
        if held(name):
            for axis in axes:
                axis.fix()
    sizes: dict[str, int] = {}
    for name, axes in trace.parameters.items():
        for i, axis in enumerate(axes):
            leaves = axis.leaves()
            for k, leaf in enumerate(leaves):
                if leaf.fixed or leaf.name:
                    continue
                label = f"{name}[{i}]" + (f":{k}" if len(leaves) > 1 else "")
                if held(label):
                    leaf.fixed = True
                else:
                    leaf.name = label
                    sizes[label] = leaf.size
    if idle := [p for p in patterns if p not in used]:
        raise NisslError(
            f"nothing is called '{idle[0]}'",
            where="fixed=",
            do=f"give a parameter or one of the groups {', '.join(list(sizes)[:8])}",
        )
    ours = {leaf for axes in trace.parameters.values() for axis in axes for leaf in axis.leaves()}
    unruled = {name for name, held in trace.unruled for a in held if ours & set(a.leaves())}
    part = {
        name: tuple(axes)
        for name, axes in trace.parameters.items()
        if any(leaf.name for axis in axes for leaf in axis.leaves())
    }
    return Symmetries(sizes, part, tuple(sorted(unruled)))


def _prove(model: nn.Module, example: Any, groups: Symmetries, seed: int) -> None:
    """Refuse groups that change the output of the model at weights about its own."""
    rng = torch.Generator().manual_seed(seed)
    weights = weights_of(model)
    for name, x in weights.items():
        learned = isinstance(x, nn.Parameter)
        if x.is_floating_point() and (learned or name in groups.axes):
            scale = torch.rand(x.shape, generator=rng).to(x) + 0.5
            moved = 0.02 * torch.randn(x.shape, generator=rng).to(x)
            weights[name] = x.detach() * scale + (moved if learned else 0)
    base = rewritten(model, weights).eval()
    before = [x for x in tensors_of(call(base, example)) if x.is_floating_point()]
    if not before:
        raise NisslError("the model gives no tensor of numbers", do="give a model with an output")
    drawn = groups.random(seed=seed)

    def changed(permutations: Permutations) -> bool:
        other = groups.permute(base, permutations)
        after = [x for x in tensors_of(call(other, example)) if x.is_floating_point()]
        return any(
            not torch.allclose(
                x, y, rtol=0, atol=torch.finfo(x.dtype).eps ** 0.5 * float(x.abs().max()),
                equal_nan=True,
            )
            for x, y in zip(before, after, strict=True)
        )  # fmt: skip

    if not changed(drawn):
        return
    bad = [group for group in drawn if changed({group: drawn[group]})]
    bad = bad or list(drawn)
    raise NisslError(
        f"the output changes when a group is permuted: {', '.join(bad[:6])}",
        where=f"{type(model).__name__}",
        do=f"hold it fixed: fixed={bad!r}; or write what it computes with operations of torch",
    )
