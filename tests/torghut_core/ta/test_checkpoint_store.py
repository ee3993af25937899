"""Checkpoints: written whole or not at all, refused by name when they cannot be trusted."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import s3
from tests.fakes.ta_inputs import Run, trade
from torghut_core.errors import ConfigurationError, UpstreamError
from torghut_core.settings import load
from torghut_core.ta.checkpoint import FORMAT_VERSION, Checkpoint, CheckpointError, CheckpointStore, pack, unpack
from torghut_core.ta.engine.engine import EngineSettings
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.wiring import s3_options


def _data() -> bytes:
    run = Run()
    run.feed([trade("A", 0.5, 10), trade("A", 9, 11)])
    run.emit()
    offsets = {"trades": 7}
    return pack(Checkpoint(group="g", partition=2, offsets=offsets, ingest_ms=5, output_rows=3, engine=run.engine))


def test_checkpoint_when_read_back_then_group_offsets_and_counts_are_those_written() -> None:
    """Everything but the arrays, which the engine's own property test compares."""
    found = unpack(_data(), EngineSettings(), "g/x")
    assert (found.group, found.partition, dict(found.offsets), found.ingest_ms) == ("g", 2, {"trades": 7}, 5)
    assert found.output_rows == 3
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


OTHERS = {
    "TA_MAX_OUT_OF_ORDER_MS": EngineSettings(max_out_of_order_ms=77),
    "TA_VWAP_WINDOW_SECONDS": EngineSettings(vwap_window_seconds=77),
    "TA_REALIZED_VOL_WINDOW": EngineSettings(vol_window_seconds=77),
    "TA_LATE_TRADES": EngineSettings(revises_late_trades=True),
}


@pytest.mark.parametrize("changed", OTHERS)
def test_checkpoint_when_the_arithmetic_was_changed_then_refused_by_the_variable(changed: str) -> None:
    """State taken under another window, tolerance or policy would be misread."""
    with pytest.raises(CheckpointError, match=f"other values of {changed}$"):
        unpack(_data(), OTHERS[changed], "g/x")


@pytest.fixture(params=["file", "s3"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], CheckpointStore]]:
    """Opens the store as another process would: a folder, or a bucket of a real S3 server."""
    if request.param == "file":
        yield lambda: CheckpointStore(f"file:{tmp_path}")
        return
    import boto3

    with s3.running() as address:
        settings = load(
            TaSettings,
            {
                "TA_KAFKA_SECURITY": "PLAINTEXT",
                "TA_CHECKPOINT_DIR": "s3a://checkpoints/torghut/ta",
                "TA_S3_ENDPOINT": address,
                "TA_S3_ACCESS_KEY": "key",
                "TA_S3_SECRET_KEY": "secret",
            },
        )
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=address, **keys).create_bucket(Bucket="checkpoints")
        yield lambda: CheckpointStore(settings.checkpoint_dir, s3_options(settings))


@pytest.mark.slow
def test_store_when_written_then_read_listed_and_deleted(open_store: Callable[[], CheckpointStore]) -> None:
    """What was written is kept under its name, for every process, and what was deleted is forgotten."""
    store, other = open_store(), open_store()
    assert (store.read("g/a"), store.names("g")) == (None, [])
    store.write("g/a", b"1")
    store.write("g/a", b"2")
    assert (store.read("g/a"), store.names("g")) == (b"2", ["g/a"])
    other.write("g/b", b"3" * (6 << 20))
    assert (store.names("g"), len(store.read("g/b") or b"")) == (["g/a", "g/b"], 6 << 20)
    for name in ("g/a", "g/a", "g/b"):
        store.delete(name)
    assert (store.names("g"), other.names("g")) == ([], [])


def test_store_when_a_write_was_cut_short_then_its_rest_is_no_checkpoint_and_can_be_deleted(tmp_path: Path) -> None:
    """Half a file has another name: it is never read for the whole, and does not stay for ever."""
    store = CheckpointStore(f"file:{tmp_path}")
    store.write("g/a", b"1")
    (tmp_path / "g" / "b.new").write_bytes(b"half")
    assert store.read("g/b") is None
    assert store.names("g") == ["g/a", "g/b.new"]
    store.delete("g/b.new")
    assert store.names("g") == ["g/a"]


@pytest.mark.slow
def test_store_when_s3_does_not_answer_then_an_upstream_error_names_the_checkpoint() -> None:
    """The runtime waits for it with a back-off; the credentials stay out of the sentence."""
    options = {"client_kwargs": {"endpoint_url": "http://127.0.0.1:1"}, "key": "key", "secret": "very-secret"}
    store = CheckpointStore("s3://checkpoints", {**options, "config_kwargs": {"retries": {"max_attempts": 1}}})
    with pytest.raises(UpstreamError, match="checkpoint g/a cannot be written") as caught:
        store.write("g/a", b"1")
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["", "folder", "file:", "ftp://x", "s3://"])
def test_store_when_the_address_has_no_shape_then_refused(address: str) -> None:
    """The message names the variable."""
    with pytest.raises(ConfigurationError, match="TA_CHECKPOINT_DIR="):
        CheckpointStore(address)


def test_store_when_the_folder_cannot_be_one_then_refused(tmp_path: Path) -> None:
    """A file stands where the folder should: the variable is named, and there is no trace."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"TA_CHECKPOINT_DIR='file:.*': cannot be used as a folder: Not a dir"):
        CheckpointStore(f"file:{tmp_path / 'file' / 'checkpoints'}")


def test_store_when_the_disk_is_full_then_half_a_checkpoint_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun is removed, or it would keep the disk full."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = CheckpointStore(f"file:{tmp_path}")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UpstreamError, match="checkpoint g/a cannot be written"):
        store.write("g/a", b"1" * 1000)
    assert list((tmp_path / "g").iterdir()) == []
