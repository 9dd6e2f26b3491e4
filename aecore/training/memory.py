"""Memory that stays with the program from step to step."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # the numbers that malloc.h gives to these two settings
LARGEST = 2**31 - 1


@functools.cache
def keep_memory() -> bool:
    """Let the program keep the memory that a step frees, for the next step; return whether that was possible.

    The C library of Linux gives large blocks back to the system when they are freed. The next step asks for them
    again, and each page of 4 kB has to be found and filled with zeros anew: 25,000 pages a step for the
    network of chapter 2, which took 45 ms a step, and 24 ms with this (2 threads, float32). It holds for the
    whole process. `release_memory` gives back what lies unused. `AECORE_KEEP_MEMORY=0` switches it off.
    """
    library = _gnu_library()
    if library is None or os.environ.get("AECORE_KEEP_MEMORY") == "0":
        return False
    return bool(library.mallopt(M_TRIM_THRESHOLD, LARGEST) and library.mallopt(M_MMAP_MAX, 0))


def release_memory() -> None:
    """Give memory that lies unused back to the system, after a training."""
    if keep_memory():
        _gnu_library().malloc_trim(0)


def _gnu_library() -> ctypes.CDLL | None:
    """Return the C library where it is GNU's, which alone has these functions."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
