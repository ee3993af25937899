"""The audit log: append-only JSON lines, each bound to the one before it by a hash.

A line changed, removed from the middle or put in breaks the chain. A tail cut off is found by comparing the log with
the `Audit-Head:` trailers of the commits it made. A line is on disk before what it tells of is done.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torghutctl.errors import UnverifiedError, UpstreamError

GENESIS = "sha256:" + "0" * 64


@dataclass(frozen=True, kw_only=True)
class AuditLine:
    """One line: its place in the chain and what it says."""

    sequence: int
    hash: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class AuditFault:
    """Where the chain breaks."""

    line: int
    why: str


class AuditLog:
    """The log at `path`, created with its folder on the first line, readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, fields: Mapping[str, Any]) -> AuditLine:
        """Append one line, flushed to disk, and return it. Raises UpstreamError when it cannot be written."""
        try:
            with self._locked() as descriptor:
                head, sequence = self._head(descriptor)
                body = {"sequence": sequence + 1, "previous": head, **fields}
                line = AuditLine(sequence=sequence + 1, hash=_hash(body), fields=body)
                text = json.dumps({**body, "hash": line.hash}, ensure_ascii=False, separators=(",", ":")) + "\n"
                _write_whole(descriptor, text.encode())
                return line
        except OSError as error:
            raise UpstreamError(
                f"the audit log {self.path} cannot be written: {error.strerror}",
                hint="nothing is done without its line",
            ) from error

    def lines(self) -> list[AuditLine]:
        """Return every line that can be read, in order, whether or not the chain holds."""
        return [
            AuditLine(sequence=int(raw.get("sequence", 0)), hash=str(raw.get("hash", "")), fields=raw)
            for raw in map(_parse, self._text().splitlines())
            if raw is not None
        ]

    def faults(self) -> list[AuditFault]:
        """Return where the chain breaks: nothing when the log is as it was written, or absent."""
        faults: list[AuditFault] = []
        previous = GENESIS
        text = self._text()
        for number, raw in enumerate(text.splitlines(), 1):
            parsed = _parse(raw)
            if parsed is None:
                faults.append(AuditFault(line=number, why="is not a JSON line"))
                continue
            body = {key: value for key, value in parsed.items() if key != "hash"}
            if parsed.get("hash") != _hash(body):
                faults.append(AuditFault(line=number, why="was edited: its hash does not fit"))
            if parsed.get("previous") != previous or parsed.get("sequence") != number:
                faults.append(
                    AuditFault(line=number, why="does not follow the line before it: lines are missing or moved")
                )
            previous = str(parsed.get("hash"))
        if text and not text.endswith("\n"):
            faults.append(AuditFault(line=text.count("\n") + 1, why="ends in the middle"))
        return faults

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise UpstreamError(f"the audit log {self.path} cannot be read: {error.strerror}") from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _head(self, descriptor: int) -> tuple[str, int]:
        size = os.fstat(descriptor).st_size
        if size == 0:
            return GENESIS, 0
        data = os.pread(descriptor, size, 0)
        last = _parse(data.rstrip(b"\n").rsplit(b"\n", 1)[-1].decode("utf-8", "replace"))
        body = {key: value for key, value in last.items() if key != "hash"} if last is not None else {}
        is_whole = last is not None and data.endswith(b"\n") and isinstance(last.get("sequence"), int)
        if last is None or not is_whole or last.get("hash") != _hash(body):
            raise UnverifiedError(
                f"the audit log {self.path} is damaged at its end, so nothing is done",
                hint="torghutctl audit verify shows where; move the file away to begin a new one",
            )
        return str(last.get("hash")), int(last["sequence"])


def _write_whole(descriptor: int, data: bytes) -> None:
    """Append `data` and flush it to disk, or leave the file as it was: a disk that fills up must not tear the chain."""
    size = os.fstat(descriptor).st_size
    try:
        written = os.write(descriptor, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _parse(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _hash(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
