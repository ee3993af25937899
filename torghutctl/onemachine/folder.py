"""The folder of a local system: one process at a time, and a file that says where its services listen."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torghutctl.errors import ConfigurationError

ENDPOINTS = "endpoints.json"
_MARKER = ".torghut"


@dataclass(frozen=True)
class LocalFolder:
    """Where engines, logs and checkpoints of one local system are."""

    path: Path

    @property
    def log_file(self) -> Path:
        return self.path / "torghut.log"

    @property
    def engines(self) -> Path:
        return self.path / "engines"

    def write_endpoints(self, services: Mapping[str, Any], **facts: Any) -> None:
        """Tell other processes where the services are (`torghut.local/v1`), in one step."""
        document = {"schemaVersion": "torghut.local/v1", "pid": os.getpid(), **facts, "services": services}
        scratch = self.path / f"{ENDPOINTS}.new"
        scratch.write_text(json.dumps(document, indent=2) + "\n")
        scratch.replace(self.path / ENDPOINTS)

    def remove_endpoints(self) -> None:
        (self.path / ENDPOINTS).unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete what an earlier run left, keeping the lock and the marker."""
        for entry in self.path.iterdir():
            if entry.name in ("lock", _MARKER):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


@contextmanager
def held(path: Path, option: str = "--dir") -> Iterator[LocalFolder]:
    """Hold the folder for this process while the block runs.

    Raises ConfigurationError when another process holds it, or when it has contents that are not a local system's.
    """
    folder = path.absolute()
    is_made_here = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _MARKER).exists():
            if any(folder.iterdir()):
                raise ConfigurationError(
                    f"{option}={path}: has contents that are not of a local system",
                    hint="choose an empty or a new folder; nothing in it was touched",
                )
            (folder / _MARKER).write_text("a local Torghut system; safe to delete when nothing runs here\n")
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise ConfigurationError(f"{option}={path}: cannot be used as a folder: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"{option}={path}: another up or demo runs in this folder", hint="stop it, or choose another --dir"
            ) from error
        yield LocalFolder(folder)
    except ConfigurationError:
        if is_made_here and {entry.name for entry in folder.iterdir()} <= {"lock", _MARKER}:
            shutil.rmtree(folder, ignore_errors=True)  # nothing was begun, and nothing is left behind
        raise
    finally:
        lock.close()
