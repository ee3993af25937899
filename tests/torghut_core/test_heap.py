"""Heaps of the C library, counted by the library itself."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from torghut_core import heap

_ALLOCATE = """
import ctypes, sys, threading
from torghut_core import heap
if sys.argv[1] == "shared" and not heap.share({}):
    raise SystemExit("not glibc")
library = ctypes.CDLL(None)
together = threading.Barrier(8)
def allocate():
    together.wait()
    library.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
library.malloc_stats()
"""


def _heaps(how: str) -> int:
    line = [sys.executable, "-c", _ALLOCATE, how]
    return subprocess.run(line, capture_output=True, text=True, check=True).stderr.count("Arena ")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own ways")
def test_heaps_when_shared_then_threads_make_no_more() -> None:
    """Eight threads that allocate at once have two heaps, where they had one each."""
    assert (_heaps("shared"), _heaps("as they are") > 2) == (2, True)


def test_heaps_when_the_operator_named_a_number_then_it_stays() -> None:
    """The environment is asked first."""
    assert heap.share({heap.VARIABLE: "4"}) is False
