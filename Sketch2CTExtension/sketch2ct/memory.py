"""What the C library does with large arrays that are freed. No torch.

glibc hands a block of more than 32 MiB back to the system as soon as it is freed, and takes, page by page, fresh zeros for the next one.
The networks' maps of a whole region are such blocks, and there it costs as much time as the arithmetic. Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h
_MOST = 2**31 - 1


def keep() -> bool:
    """Freed blocks stay with this process from now on; whether the C library can do so."""
    library = _glibc()
    return library is not None and bool(library.mallopt(_MMAP_MAX, 0)) and bool(library.mallopt(_TRIM_THRESHOLD, _MOST))


def release() -> None:
    """Hand back what is kept and not in use: while nothing is asked of it, a process holds no more than it needs."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
