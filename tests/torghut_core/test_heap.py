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

_COME_AND_GO = """
import ctypes, resource, sys
from torghut_core import heap
if sys.argv[1] == "kept" and not heap.keep_large_blocks({}):
    raise SystemExit("not glibc")
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def use():
    blocks = [library.malloc(8 << 20) for _ in range(5)]
    for block in blocks:
        ctypes.memset(block, 1, 8 << 20)
    for block in blocks:
        library.free(block)
library.malloc(1000)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    line = [sys.executable, "-c", _COME_AND_GO, how]
    return int(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own ways")
def test_large_blocks_when_kept_then_the_next_ones_are_no_new_pages() -> None:
    """A hundred blocks of 8 MiB that come and go five at a time: 200,000 pages, which the kernel gives once."""
    assert (_faults("kept") < 1000, _faults("as they are") > 10_000) == (True, True)


@pytest.mark.parametrize("variable", ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"])
def test_large_blocks_when_the_operator_named_a_threshold_then_it_stays(variable: str) -> None:
    """The environment is asked first."""
    assert heap.keep_large_blocks({variable: "131072"}) is False
