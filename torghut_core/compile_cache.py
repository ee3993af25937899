"""Where compiled kernels are kept when they cannot be kept beside their source.

numba refuses to define a cached kernel at all when neither the package's folder nor the user's cache folder can be
written: a package installed by root and run by somebody without a home, as in most containers.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def place(environment: MutableMapping[str, str], package: Path, temporary: Path | None = None) -> None:
    """Name a folder for compiled kernels in `environment`, unless one is named or numba will find one by itself.

    It lies in `temporary`, or in the machine's folder for temporary files; without either nothing is named.
    """
    if VARIABLE in environment or os.access(package, os.W_OK):
        return
    home = environment.get("HOME")
    if home and os.access(Path(home), os.W_OK):
        return
    with contextlib.suppress(OSError):  # no folder at all; numba says so when it is needed
        environment[VARIABLE] = str(_own_folder(temporary or Path(tempfile.gettempdir())))


def _own_folder(temporary: Path) -> Path:
    """Return a folder that nobody else can write: what lies in it is run."""
    folder = temporary / f"torghut-compiled-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        found = None
    is_ours = (
        found is not None
        and stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
    return folder if is_ours else Path(tempfile.mkdtemp(prefix="torghut-compiled-", dir=temporary))
