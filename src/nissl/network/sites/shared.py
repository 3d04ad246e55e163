"""Modules that stand at several places of a model: which of the places a call is made from.

One nonlinearity shared by all blocks is one module with many paths, and a hook on it sees every
call. A call is told by the module that is running around it, and in a chain by its turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from torch import nn

from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import Handle

__all__ = ["Caller", "paths_of"]

_known: WeakKeyDictionary[nn.Module, dict[nn.Module, list[str]]] = WeakKeyDictionary()


def paths_of(model: nn.Module, path: str) -> list[str]:
    """Return the paths of the module at a path where it has several; else none.

    Parameters
    ----------
    model : nn.Module
        The model.
    path : str
        One of them.

    Returns
    -------
    list of str
        In the order of the model.
    """
    if model not in _known:
        every: dict[nn.Module, list[str]] = {}
        for name, module in model.named_modules(remove_duplicate=False):
            every.setdefault(module, []).append(name)
        _known[model] = {m: names for m, names in every.items() if len(names) > 1}
    shared = _known[model]
    return shared.get(model.get_submodule(path), []) if shared else []


class Caller:
    """Tells whether a call of a shared module is made at one of its paths.

    Parameters
    ----------
    model : nn.Module
        The model.
    path : str
        The path that is meant.
    paths : list of str
        All paths of the module.

    Raises
    ------
    NisslError
        The places cannot be told apart.
    """

    def __init__(self, model: nn.Module, path: str, paths: list[str]) -> None:
        around = {name: _around(model, name) for name in paths}
        self.around = around[path]
        rivals = [name for name in paths if around[name] is self.around]
        chain = isinstance(self.around, nn.Sequential) and self.around is _parent(model, path)
        if len(rivals) > 1 and not chain:
            raise NisslError(
                f"'{path}' is one module with {', '.join(repr(p) for p in paths if p != path)}, "
                "and its calls cannot be told apart",
                where=path,
                do="give each place its own module, as in copy.deepcopy",
            )
        self.turn, self.in_turn = rivals.index(path), len(rivals) > 1
        self.stack: list[nn.Module] = []
        self.calls = 0
        self.handles: list[Handle] = []
        for module in dict.fromkeys(around.values()):
            self.handles += [
                module.register_forward_pre_hook(self._enter, prepend=True),
                module.register_forward_hook(self._leave, always_call=True),
            ]
        own = model.get_submodule(path)
        self.handles.append(own.register_forward_pre_hook(self._count))

    @property
    def calls_here(self) -> bool:
        """Whether the call under way is made at the path."""
        inside = self.stack[-1] is self.around if self.stack else True
        return inside and (not self.in_turn or self.calls - 1 == self.turn)

    def _enter(self, module: nn.Module, args: Any) -> None:
        self.stack.append(module)
        if module is self.around:
            self.calls = 0

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.stack:
            self.stack.pop()

    def _count(self, module: nn.Module, args: Any) -> None:
        self.calls += bool(self.stack) and self.stack[-1] is self.around


def _parent(model: nn.Module, path: str) -> nn.Module:
    return model.get_submodule(path.rpartition(".")[0])


def _around(model: nn.Module, path: str) -> nn.Module:
    """Return the nearest module around a place that is called itself: a list is not."""
    while path:
        path = path.rpartition(".")[0]
        found = model.get_submodule(path)
        if not isinstance(found, (nn.ModuleList, nn.ModuleDict)):
            return found
    return model
