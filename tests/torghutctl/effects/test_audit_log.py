"""The audit log when the disk is full or its end was tampered with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
    with pytest.raises(UnverifiedError, match="damaged at its end"):
        log.append({"reason": "next"})
