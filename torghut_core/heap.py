"""The C library's heaps.

glibc gives threads heaps of their own, up to eight for each core, and what one of them frees another does not take: a
process whose threads each build large blocks now and then holds the most of each, for good. Blocks above a threshold it
fetches from the kernel one by one and gives back at once: where one such block follows the other, each is new pages.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping

VARIABLE = "MALLOC_ARENA_MAX"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # Source: glibc malloc.h
_LARGE_BYTES = 32 << 20
_KEPT_BYTES = 128 << 20


def share(environment: Mapping[str, str] = os.environ, *, heaps: int = 2) -> bool:
    """Let all threads share `heaps` heaps, and return whether the library does; not where the operator named a number."""
    if VARIABLE in environment:
        return False
    with contextlib.suppress(OSError, AttributeError):  # another C library has its own ways
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, heaps))
    return False


def keep_large_blocks(environment: Mapping[str, str] = os.environ) -> bool:
    """Keep freed blocks of up to 32 MiB for the next one, 128 MiB of them in all; return whether the library does.

    Not where the operator has set MALLOC_MMAP_THRESHOLD_ or MALLOC_TRIM_THRESHOLD_.
    """
    if {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} & environment.keys():
        return False
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        return bool(library.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)) and bool(
            library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        )
    return False
