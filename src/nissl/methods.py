"""The marker that ties a function or class of a room to the paper it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["method"]

T = TypeVar("T")


def method(*, system: int) -> Callable[[T], T]:
    """Mark a public function or class as one of the systems of the literature.

    Parameters
    ----------
    system : int
        The system's number in the list of papers (``nissl methods``).

    Returns
    -------
    callable
        A decorator that returns what it is given, with ``__nissl_system__`` set.

    Examples
    --------
    >>> @method(system=153)
    ... def claim_something(): ...
    >>> claim_something.__nissl_system__
    153
    """

    def mark(thing: T) -> T:
        thing.__nissl_system__ = system  # type: ignore[attr-defined]
        return thing

    return mark
