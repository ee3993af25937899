"""The audit log: append-only JSON lines, each bound to the one before it by a hash.

A line changed, removed from the middle or put in breaks the chain. A tail cut off is found by comparing the log with
the `Audit-Head:` trailers of the commits it made. A line is on disk before what it tells of is done.

A broken chain is never continued as if it were whole. What must not wait for its mending is written behind the damage:
such a line is bound to every byte before it, says so, and stays a fault until the file is moved away.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torghutctl.errors import UnverifiedError, UpstreamError

GENESIS = "sha256:" + "0" * 64
NO_HEAD = "none"
"""What a commit's `Audit-Head:` says when the log could not be written."""
_AFTER_DAMAGE = "afterDamage"
_LOCK_ATTEMPTS = 50
_LOCK_PAUSE_SECONDS = 0.1


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

    def append(self, fields: Mapping[str, Any], *, despite_damage: bool = False) -> AuditLine:
        """Append one line, flushed to disk, and return it.

        Raises UpstreamError when it cannot be written, UnverifiedError when the chain is broken; with `despite_damage`
        the line is written behind the damage instead.
        """
        try:
            with self._locked() as descriptor:
                data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
                scan = _scan(data)
                start = b""
                body: dict[str, Any] = {"sequence": scan.count + 1, "previous": scan.head}
                if scan.faults:
                    if not despite_damage:
                        raise self._damaged(scan.faults[0])
                    start = b"" if data.endswith(b"\n") else b"\n"
                    body |= {"previous": _digest(data + start), _AFTER_DAMAGE: True}
                body |= fields
                line = AuditLine(sequence=scan.count + 1, hash=_hash(body), fields=body)
                text = json.dumps({**body, "hash": line.hash}, ensure_ascii=False, separators=(",", ":")) + "\n"
                _write_whole(descriptor, start + text.encode("utf-8", "backslashreplace"))
                return line
        except OSError as error:
            raise UpstreamError(
                f"the audit log {self.path} cannot be written: {error.strerror or type(error).__name__}",
                hint="nothing is done without its line",
            ) from error

    def _damaged(self, fault: AuditFault) -> UnverifiedError:
        return UnverifiedError(
            f"the audit log {self.path} is damaged, so nothing is done: line {fault.line} {fault.why}",
            hint=f"torghutctl audit verify --audit-log {self.path} shows all of it; move the file away to begin a new one",
        )

    def lines(self) -> list[AuditLine]:
        """Return every line that can be read, in order, whether or not the chain holds."""
        return [
            AuditLine(sequence=_number(raw.get("sequence")), hash=str(raw.get("hash", "")), fields=raw)
            for raw in map(_parse, self._data().split(b"\n"))
            if raw is not None
        ]

    def faults(self) -> list[AuditFault]:
        """Return where the chain breaks: nothing when the log is as it was written, or absent."""
        return _scan(self._data()).faults

    def _data(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise UpstreamError(f"the audit log {self.path} cannot be read: {error.strerror}") from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)


@dataclass(frozen=True, kw_only=True)
class _Scan:
    """What a log's bytes say: its faults, the hash and the number of its last line."""

    faults: list[AuditFault]
    head: str
    count: int


def _scan(data: bytes) -> _Scan:
    faults: list[AuditFault] = []
    previous = GENESIS
    rows = data.split(b"\n")
    tail = rows.pop()
    view, start = memoryview(data), 0
    for number, raw in enumerate(rows, 1):
        parsed = _parse(raw)
        if parsed is None:
            faults.append(AuditFault(line=number, why="is not a JSON line"))
        else:
            faults += [AuditFault(line=number, why=why) for why in _faults_of(parsed, number, previous, view[:start])]
            previous = str(parsed.get("hash"))
        start += len(raw) + 1
    if tail:
        faults.append(AuditFault(line=len(rows) + 1, why="ends in the middle"))
    return _Scan(faults=faults, head=previous, count=len(rows) + bool(tail))


def _faults_of(parsed: Mapping[str, Any], number: int, previous: str, before: memoryview) -> Iterator[str]:
    if parsed.get("hash") != _hash({key: value for key, value in parsed.items() if key != "hash"}):
        yield "was edited: its hash does not fit"
    is_after_damage = parsed.get(_AFTER_DAMAGE) is True
    if is_after_damage:
        yield "was written although the log was damaged before it"
    if parsed.get("previous") != (_digest(before) if is_after_damage else previous) or parsed.get("sequence") != number:
        yield "does not follow the line before it: lines are missing or moved"


def _lock(descriptor: int) -> None:
    """Take the log's lock; a process that hangs with it must not hold everybody up for ever."""
    for attempt in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt == _LOCK_ATTEMPTS - 1:
                raise OSError(errno.EWOULDBLOCK, "another process holds it") from None
            time.sleep(_LOCK_PAUSE_SECONDS)
        else:
            return


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


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _hash(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return _digest(canonical.encode("utf-8", "surrogatepass"))


def _digest(data: bytes | memoryview) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
