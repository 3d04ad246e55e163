"""Give memory that was freed back to the system."""

from __future__ import annotations

import ctypes
import gc

__all__ = ["release"]


def release() -> None:
    """Give back what was freed, after work whose peak is several times what is kept of it.

    The allocators of C and of Arrow hold freed memory for more of the same work, which for a
    server that reads a table once does not come.

    Examples
    --------
    >>> release()
    """
    import pyarrow as pa

    gc.collect()
    pa.default_memory_pool().release_unused()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library than glibc
        return
