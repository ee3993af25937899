"""Checkpoints: written whole or not at all, refused by name when they cannot be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.ta_inputs import Run, trade
from torghut_core.errors import ConfigurationError
from torghut_core.ta.checkpoint import FORMAT_VERSION, Checkpoint, CheckpointError, CheckpointStore, pack, unpack
from torghut_core.ta.engine import EngineSettings


def _data() -> bytes:
    run = Run()
    run.feed([trade("A", 0.5, 10), trade("A", 9, 11)])
    run.emit()
    return pack(Checkpoint(group="g", partition=2, offsets={"trades": 7}, ingest_ms=5, engine=run.engine))


def test_checkpoint_when_read_back_then_group_offsets_and_counts_are_those_written() -> None:
    """Everything but the arrays, which the engine's own property test compares."""
    found = unpack(_data(), EngineSettings(), "g/x")
    assert (found.group, found.partition, dict(found.offsets), found.ingest_ms) == ("g", 2, {"trades": 7}, 5)
    assert (found.engine.names, found.engine.counts.input_events) == (["A"], 2)


DAMAGED = {
    "another program's": (lambda data: b"PK" + data, "is not one of this program"),
    "truncated": (lambda data: data[:-1], "is damaged"),
    "a byte is changed": (lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:], "is damaged"),
    "an older version": (
        lambda data: data.replace(f"\n{FORMAT_VERSION} ".encode(), b"\n1 ", 1),
        f"format version '1', this program reads {FORMAT_VERSION}",
    ),
    "empty": (lambda data: b"", "is not one of this program"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_checkpoint_when_it_cannot_be_trusted_then_refused_by_name(name: str) -> None:
    """Never misread: the message names the checkpoint and what is wrong with it."""
    change, expected = DAMAGED[name]
    with pytest.raises(CheckpointError, match="checkpoint g/x: ") as caught:
        unpack(change(_data()), EngineSettings(), "g/x")
    assert expected in str(caught.value)


@pytest.mark.parametrize("changed", ["max_out_of_order_ms", "vwap_window_seconds", "vol_window_seconds"])
def test_checkpoint_when_the_arithmetic_was_changed_then_refused_by_the_setting(changed: str) -> None:
    """State taken under another window or tolerance would be misread."""
    with pytest.raises(CheckpointError, match=changed):
        unpack(_data(), EngineSettings(**{changed: 77}), "g/x")


def test_store_when_written_then_read_listed_and_deleted(tmp_path: Path) -> None:
    """A folder keeps what was written under its name, and forgets what was deleted."""
    store = CheckpointStore(f"file:{tmp_path}")
    assert (store.read("g/a"), store.names("g")) == (None, [])
    store.write("g/a", b"1")
    store.write("g/a", b"2")
    (tmp_path / "g" / "b.new").write_bytes(b"half")
    assert (store.read("g/a"), store.names("g")) == (b"2", ["g/a"])
    store.delete("g/a")
    store.delete("g/a")
    assert store.names("g") == []


@pytest.mark.parametrize("address", ["", "folder", "file:", "ftp://x", "s3://"])
def test_store_when_the_address_has_no_shape_then_refused(address: str) -> None:
    """The message names the variable."""
    with pytest.raises(ConfigurationError, match="TA_CHECKPOINT_DIR="):
        CheckpointStore(address)
