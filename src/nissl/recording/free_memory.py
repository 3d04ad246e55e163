"""Memory that can still be had, compared with what is needed before anything is made."""

from __future__ import annotations

import os
from pathlib import Path

from nissl.errors import NisslError

__all__ = ["free_memory", "in_words", "require_memory"]


def free_memory() -> int | None:
    """Return how many bytes can still be had, or None where the system does not say.

    Returns
    -------
    int or None
        Bytes.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def require_memory(n_bytes: int, what: str, *, where: str = "", do: str) -> None:
    """Refuse what cannot fit into memory.

    Parameters
    ----------
    n_bytes : int
        What is needed.
    what : str
        What needs it, for the error.
    where, do : str
        Of the error.

    Raises
    ------
    NisslError
        There is less free memory.

    Examples
    --------
    >>> require_memory(1000, "the recording", do="record fewer sites")
    """
    free = free_memory()
    if free is not None and n_bytes > free:
        raise NisslError(
            f"{what} needs {in_words(n_bytes)} of memory, and {in_words(free)} are free",
            where=where,
            do=do,
        )


def in_words(n_bytes: int) -> str:
    """Return a number of bytes as people write it.

    Parameters
    ----------
    n_bytes : int
        Bytes.

    Returns
    -------
    str
        In kB, MB or GB.

    Examples
    --------
    >>> in_words(1_500_000_000), in_words(20_000)
    ('1.5 GB', '20.0 kB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes / 1e3:.1f} kB"
