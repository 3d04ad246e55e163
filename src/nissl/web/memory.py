"""Hold no more memory than is in use."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

__all__ = ["release", "share_arenas"]

ARENA_MAX = -8  # the name of the setting in glibc's malloc.h


def release() -> None:
    """Give back what was freed, after work whose peak is several times what is kept of it.

    The allocators of C and of Arrow hold freed memory for more of the same work, which for a
    server that reads a table once does not come.

    Examples
    --------
    >>> release()
    """
    gc.collect()
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    with suppress(AttributeError, OSError, TypeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def share_arenas(n: int = 2) -> None:
    """Let all threads take memory from a few arenas, for each keeps what was freed in it.

    Parameters
    ----------
    n : int
        How many.

    Examples
    --------
    >>> share_arenas()
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(ARENA_MAX, n)
