"""Envelope, timestamps, settings, clock, backoff and logs."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from torghut_core import logs
from torghut_core.backoff import Backoff
from torghut_core.clock import FileClock, open_clock
from torghut_core.envelope import Envelope, Window, decode, encode
from torghut_core.errors import ConfigurationError, InputError
from torghut_core.rfc3339 import format_ns, parse_ns
from torghut_core.settings import Settings, load

ENVELOPE = Envelope(
    ingest_ts="2026-01-05T14:30:00.5Z",
    event_ts="2026-01-05T14:30:00.123456789Z",
    feed="iex",
    channel="trades",
    symbol="AAPL",
    seq=7,
    is_final=True,
    source="ws",
    window=None,
    payload={"S": "AAPL", "p": 1.5, "s": 0.25},
)


def test_envelope_when_encoded_then_keys_in_contract_order() -> None:
    """The written order is part of the contract, and nulls are written."""
    assert list(json.loads(encode(ENVELOPE))) == (
        [
            "ingest_ts",
            "event_ts",
            "feed",
            "channel",
            "symbol",
            "seq",
            "is_final",
            "source",
            "window",
            "payload",
            "version",
        ]
    )
    assert b'"window":null' in encode(ENVELOPE)


def test_envelope_when_msgpack_or_camel_case_then_same() -> None:
    """Readers take msgpack and the older spelling, in either encoding, with unknown keys."""
    fields = msgspec.to_builtins(ENVELOPE)
    camel = {
        {"ingest_ts": "ingestTs", "event_ts": "eventTs", "is_final": "isFinal"}.get(key, key): value
        for key, value in fields.items()
    } | {"accountLabel": "x"}
    for record in (
        encode(ENVELOPE),
        msgspec.msgpack.encode(ENVELOPE),
        json.dumps(camel).encode(),
        msgspec.msgpack.encode(camel),
    ):
        assert decode(record) == ENVELOPE


@pytest.mark.parametrize(
    "record",
    [
        *(b"", b"{", b"[]", b"\xff\xff", b'{"symbol":"A"}', encode(ENVELOPE)[:-9]),
        pytest.param(b'{"payload":{"p":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", id="too-deep"),
    ],
)
def test_envelope_when_broken_then_input_error(record: bytes) -> None:
    """A broken record is an error of its own family, never the library's."""
    with pytest.raises(InputError):
        decode(record)


def test_window_when_in_envelope_then_kept() -> None:
    """Derived records carry their window."""
    window = Window("PT1S", "PT1S", "2026-01-05T14:30:00Z", "2026-01-05T14:30:01Z")
    assert decode(encode(msgspec.structs.replace(ENVELOPE, window=window))).window == window


@given(st.integers(min_value=-62_135_596_800 * 10**9, max_value=253_402_300_799 * 10**9))
def test_rfc3339_when_formatted_then_parses_back(ns: int) -> None:
    """Nanoseconds survive the round trip, from the year 1 to the year 9999."""
    assert parse_ns(format_ns(ns)) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T01:00:01.000000001+01:00", 1_000_000_001),
        ("1970-01-01T00:00:00.1234567899Z", 123_456_789),
    ],
)
def test_rfc3339_when_zoned_or_long_then_exact(text: str, ns: int) -> None:
    """Zones are applied, digits past the ninth cut."""
    assert parse_ns(text) == ns


@pytest.mark.parametrize("text", ["", "2026-01-05", "2026-01-05T14:30:00", "2026-13-05T14:30:00Z", "x" * 10_000])
def test_rfc3339_when_not_a_timestamp_then_value_error(text: str) -> None:
    """Garbage is named, shortened."""
    with pytest.raises(ValueError, match="is not a"):
        parse_ns(text)


class _Sample(Settings):
    feed: Literal["iex", "sip"] = Field(default="iex", alias="SAMPLE_FEED")
    poll_ms: int = Field(default=5, alias="SAMPLE_POLL_MS", gt=0)
    secret: SecretStr = Field(alias="SAMPLE_SECRET")


def test_settings_when_wrong_then_every_variable_value_and_rule_named() -> None:
    """All problems come at once, and a secret's value never does."""
    with pytest.raises(ConfigurationError) as caught:
        load(_Sample, {"SAMPLE_FEED": "bogus", "SAMPLE_POLL_MS": "ten"})
    message = str(caught.value)
    assert "SAMPLE_FEED='bogus': must be 'iex' or 'sip'" in message
    assert "SAMPLE_POLL_MS='ten': must be a valid integer" in message
    assert "SAMPLE_SECRET: must be set" in message


def test_settings_when_variable_is_empty_then_default() -> None:
    """Kubernetes writes `value: ""`; that is unset."""
    assert load(_Sample, {"SAMPLE_FEED": " ", "SAMPLE_SECRET": "s3cr3t-value"}).feed == "iex"
    assert "s3cr3t" not in repr(load(_Sample, {"SAMPLE_SECRET": "s3cr3t-value"}))


def test_backoff_when_attempts_grow_then_capped_and_spread() -> None:
    """Base 500, cap 2000: 500, 1000, 2000, 2000; the spread stays within the jitter, on both sides of the cap."""
    still = Backoff(base=0.5, cap=2.0, jitter=0)
    assert [still.delay(n) for n in (0, 1, 2, 3, 4)] == [0.5, 0.5, 1.0, 2.0, 2.0]
    delays = [Backoff(base=1, cap=1, jitter=0.2).delay(9) for _ in range(300)]
    assert 0.8 <= min(delays) < 0.95 < 1.05 < max(delays) <= 1.2


def test_file_clock_when_speed_changes_then_time_goes_on_from_there(tmp_path: Path) -> None:
    """Two processes share one simulated clock; a change of speed never turns it back."""
    path = tmp_path / "clock.json"
    FileClock.write(path, origin_ns=1_000, speed=1000.0)
    clock = open_clock(f"file:{path}")
    first = clock.now_ns()
    FileClock.write(path, origin_ns=clock.now_ns(), speed=1.0)
    assert clock.now_ns() >= first >= 1_000


@pytest.mark.parametrize("address", ["sundial", "file:", "file:/nowhere/clock.json"])
def test_clock_when_address_is_wrong_then_configuration_error(address: str) -> None:
    """The variable is named."""
    with pytest.raises(ConfigurationError, match="TORGHUT_CLOCK="):
        open_clock(address)


def test_logs_when_field_has_a_secret_name_then_hidden() -> None:
    """One JSON object a line; secrets' names hide their values."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.Formatter())
    logger = logging.Logger("torghut.test")
    logger.addHandler(handler)
    logs.event(logger, "connected", api_key="abc", symbols=3)
    entry = json.loads(stream.getvalue())
    assert (entry["event"], entry["api_key"], entry["symbols"]) == ("connected", "(hidden)", 3)
