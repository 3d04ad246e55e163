"""Options of edits: those that an edit does not have are said by their nearest name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from nissl.errors import UnknownName

__all__ = ["known_options"]

P = ParamSpec("P")
R = TypeVar("R")


def known_options(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse options that a function does not have by an error of ours.

    Parameters
    ----------
    function : callable
        What makes an edit.

    Returns
    -------
    callable
        The same function.

    Examples
    --------
    >>> known_options(lambda *, to=0.0: to)(to=1.0)
    1.0
    """
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                raise UnknownName(
                    "option", name, known, do=f"{function.__name__} takes {', '.join(known)}"
                )
        return function(*args, **kwargs)

    return checked
