"""Arguments of a module's call by the names that its forward function gives them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["bound", "inner_model", "names_of"]


def names_of(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the arguments that a module's forward function takes, in their order.

    Parameters
    ----------
    module : nn.Module
        The module; of one that passes on whatever it is given (a wrapper), those of the model of
        transformers inside it are known too.

    Returns
    -------
    tuple of str
        Without ``*args`` and ``**kwargs``.
    """
    names, open_ended = _names(type(module).forward)
    inner = inner_model(module)[1] if open_ended else module
    more = () if inner is module else _names(type(inner).forward)[0]
    return names + tuple(name for name in more if name not in names)


def bound(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name, in the order of the forward function.

    Parameters
    ----------
    module : nn.Module
        The module that is called.
    args, kwargs
        What it is given.

    Returns
    -------
    dict of str to Any
        Those given, by name; of positional ones without a name (``*args``) by number.
    """
    names: tuple[str, ...] = _names(type(module).forward)[0]
    given = {names[i] if i < len(names) else str(i): value for i, value in enumerate(args)}
    given |= kwargs
    order = {name: i for i, name in enumerate(names)}
    return dict(sorted(given.items(), key=lambda item: order.get(item[0], len(order))))


def inner_model(model: nn.Module) -> tuple[str, nn.Module]:
    """Return the model of transformers in one that wraps it, and its path; or the model itself.

    Parameters
    ----------
    model : nn.Module
        A wrapper (PeftModel) shows the configuration of what it wraps, whose modules lie deeper.

    Returns
    -------
    tuple of (str, nn.Module)
        Path and module.
    """
    if not hasattr(type(model), "base_model_prefix") and hasattr(model, "config"):
        for path, module in model.named_modules():
            if hasattr(type(module), "base_model_prefix"):
                return path, module
    return "", model


@cache
def _names(forward: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """Return the names, and whether others are taken too."""
    parameters = list(inspect.signature(forward).parameters.values())[1:]
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = tuple(p.name for p in parameters if p.kind not in several)
    return names, any(p.kind in several for p in parameters)
