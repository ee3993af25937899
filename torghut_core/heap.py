"""The C library's heaps.

glibc gives threads heaps of their own, up to eight for each core, and what one of them frees another does not take: a
process whose threads each build large blocks now and then holds the most of each, for good.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping

VARIABLE = "MALLOC_ARENA_MAX"
_M_ARENA_MAX = -8  # Source: glibc malloc.h


def share(environment: Mapping[str, str] = os.environ, *, heaps: int = 2) -> bool:
    """Let all threads share `heaps` heaps, and return whether the library does; not where the operator named a number."""
    if VARIABLE in environment:
        return False
    with contextlib.suppress(OSError, AttributeError):  # another C library has its own ways
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, heaps))
    return False
