"""Errors a user can cause: what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["NisslError", "TooFewSamples", "UnknownName"]


class NisslError(Exception):
    """An error that a user can mend.

    Parameters
    ----------
    what : str
        What was wrong, in one sentence.
    where : str, optional
        The file, site, unit or sample at which it was found.
    do : str, optional
        What to do about it.

    Examples
    --------
    >>> print(NisslError("the text is empty", where="notes.txt", do="give a file with words in it"))
    the text is empty
      where: notes.txt
      do: give a file with words in it
    """

    def __init__(self, what: str, *, where: str | None = None, do: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.do = do

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.do:
            lines.append(f"  do: {self.do}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without calling the constructor, whose arguments are other ones in subclasses.

        An error that a worker process cannot hand over leaves its pool waiting for ever.
        """
        return _unpickled, (type(self), self.args, self.__dict__)


def _unpickled(kind: type[NisslError], args: tuple[Any, ...], state: dict[str, Any]) -> NisslError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class TooFewSamples(NisslError):
    """Too few samples (facts, documents, blocks, labels) for chance to be told from an effect."""


class UnknownName(NisslError):
    """A name that is not known, with the nearest names that are.

    Parameters
    ----------
    kind : str
        What was asked for: "site", "specimen", "unit".
    name : str
        The name that is not known.
    known : iterable of str
        The names that are.
    do : str, optional
        Where the whole list is to be seen.

    Examples
    --------
    >>> print(UnknownName("specimen", "smolm2", ["smollm2", "worm"], do="nissl specimens"))
    no specimen is called 'smolm2'; did you mean 'smollm2'?
      do: nissl specimens
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], *, do: str | None = None
    ) -> None:
        self.nearest = nearest(name, known)
        guess = " or ".join(f"'{n}'" for n in self.nearest)
        ask = f"; did you mean {guess}?" if guess else ""
        super().__init__(f"no {kind} is called '{name}'{ask}", do=do)


def nearest(name: str, known: Iterable[str], *, n: int = 3, cutoff: float = 0.5) -> list[str]:
    """Return the known names nearest to one that is not known, best first.

    Parameters
    ----------
    name : str
        The name that was asked for.
    known : iterable of str
        The names to choose from.
    n : int
        How many to return at most.
    cutoff : float
        How near they are at least, from 0 to 1, which is the same name.

    Returns
    -------
    list of str
        At most `n` names; empty where nothing is near.

    Examples
    --------
    >>> nearest("mlp.neuron", ["mlp.neurons", "attn.out"])
    ['mlp.neurons']
    """
    return difflib.get_close_matches(name, list(known), n=n, cutoff=cutoff)


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's text, or its kind where it says nothing.

    Parameters
    ----------
    error : exception
        Of any library.

    Returns
    -------
    str
        Never empty.

    Examples
    --------
    >>> first_line(ValueError("bad\nworse")), first_line(MemoryError())
    ('bad', 'MemoryError')
    """
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def require_known(kind: str, name: str, known: Sequence[str]) -> None:
    """Refuse an option that is not one of those known, with the nearest.

    Parameters
    ----------
    kind : str
        What is chosen: "tail".
    name : str
        What was given.
    known : sequence of str
        What may be given.

    Raises
    ------
    UnknownName
        It is not known.

    Examples
    --------
    >>> require_known("tail", "gpd", ("permutation", "normal", "gpd"))
    """
    if name not in known:
        raise UnknownName(kind, str(name), known, do=f"choose one of {', '.join(known)}")
