"""The audit log when the disk is full or its end was tampered with."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from torghutctl.effects import audit_log
from torghutctl.effects.audit_log import AuditLog
from torghutctl.errors import UnverifiedError, UpstreamError


def test_append_when_the_disk_takes_half_a_line_then_the_log_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short write is a failure, nothing of it stays, and the next line follows the last whole one."""
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append({"event": "one"})
    before = log.path.read_bytes()
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
        with pytest.raises(UpstreamError, match="cannot be written"):
            log.append({"event": "two"})
    assert log.path.read_bytes() == before
    log.append({"event": "three"})
    assert (log.faults(), [line.fields["event"] for line in log.lines()]) == ([], ["one", "three"])


def test_append_when_the_last_line_was_edited_then_nothing_is_added(tmp_path: Path) -> None:
    """A chain is not continued from a line that is not what was written."""
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append({"reason": "stale data"})
    log.path.write_text(log.path.read_text().replace("stale data", "all is well"))
    with pytest.raises(UnverifiedError, match="damaged, so nothing is done: line 1 was edited"):
        log.append({"reason": "next"})


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "edited first line": lambda data: data.replace(b"one", b"eno"),
    "edited last line": lambda data: data.replace(b"three", b"eerht"),
    "line gone from the middle": lambda data: b"".join(data.splitlines(keepends=True)[::2]),
    "last line cut": lambda data: data[:-5],
    "last newline gone": lambda data: data[:-1],
    "no JSON": lambda data: data + b"\xff\x00\n",
    "JSON of another kind": lambda data: data + b"[1]\n",
    "nested without end": lambda data: data + b"[" * 100_000 + b"\n",
    "a sequence that is no number": lambda data: data.replace(b'"sequence":2', b'"sequence":"two"'),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_append_when_the_log_is_damaged_then_only_behind_the_damage_and_it_stays_a_fault(
    case: str, tmp_path: Path
) -> None:
    """What was there is left to the byte, the new line can be read, and the chain never looks whole again."""
    log = AuditLog(tmp_path / "audit.jsonl")
    for event in ("one", "two", "three"):
        log.append({"event": event})
    damaged = DAMAGE[case](log.path.read_bytes())
    log.path.write_bytes(damaged)
    found = log.faults()
    with pytest.raises(UnverifiedError, match="so nothing is done"):
        log.append({"event": "start"})
    assert (damaged, True) == (log.path.read_bytes(), bool(found))
    log.append({"event": "stop"}, despite_damage=True)
    log.append({"event": "another stop"}, despite_damage=True)
    assert log.path.read_bytes().startswith(damaged)
    assert [line.fields["event"] for line in log.lines()][-2:] == ["stop", "another stop"]
    assert len(log.faults()) > len([fault for fault in found if fault.why != "ends in the middle"])
    with pytest.raises(UnverifiedError, match="so nothing is done"):
        log.append({"event": "start"})


def test_faults_when_the_damage_is_mended_by_hand_later_then_the_line_behind_it_tells(tmp_path: Path) -> None:
    """It is bound to every byte before it, damage included."""
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append({"event": "one"})
    whole = log.path.read_bytes()
    log.path.write_bytes(whole.replace(b"one", b"eno"))
    log.append({"event": "stop"}, despite_damage=True)
    log.path.write_bytes(log.path.read_bytes().replace(b"eno", b"one"))
    assert [fault.why.split(":")[0] for fault in log.faults()] == [
        "was written although the log was damaged before it",
        "does not follow the line before it",
    ]


def test_append_when_a_text_has_line_separators_or_bytes_that_are_no_text_then_it_is_one_line(tmp_path: Path) -> None:
    """A ticket with U+2028, or an argument that is not UTF-8, must not break the chain."""
    log = AuditLog(tmp_path / "audit.jsonl")
    for ticket in ("a\u2028b\x85c\x0cd", "caf\udce9"):
        log.append({"ticket": ticket})
    assert (log.faults(), [line.sequence for line in log.lines()]) == ([], [1, 2])


def test_append_when_another_process_hangs_with_the_lock_then_it_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever: a stop goes on, everything else says why it does not."""
    monkeypatch.setattr(audit_log, "_LOCK_ATTEMPTS", 2)
    monkeypatch.setattr(audit_log, "_LOCK_PAUSE_SECONDS", 0)
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append({"event": "one"})
    with log.path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UpstreamError, match="another process holds it"):
            log.append({"event": "two"})
