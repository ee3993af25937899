"""Frames to envelopes: the compiled passes beside a full parser, duplicates, sequence numbers, bad messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torghut_core.envelope import Envelope, decode
from torghut_core.ingest.intake import Intake
from torghut_core.ingest.rows import CHANNELS
from torghut_core.ingest.seen import SeenTable, identity_of, is_repeat
from torghut_core.rfc3339 import format_ns, parse_ns

NOW_NS = 1_767_623_400_000_000_000
BOTH = pytest.mark.parametrize("is_msgpack", [False, True], ids=["json", "msgpack"])


def _intake(is_msgpack: bool = False, now: list[float] | None = None, **changes: Any) -> Intake:
    clock = now or [0.0]
    options: dict[str, Any] = {
        "feed": "iex",
        "is_msgpack": is_msgpack,
        "first_sequence": 1_000_000,
        "dedup_ttl_seconds": 5.0,
        "dedup_max_entries": 1000,
        "partitions": dict.fromkeys(CHANNELS, 1),
        "monotonic": lambda: clock[0],
    }
    intake = Intake(**options | changes)
    intake.want(["AAPL", "MSFT", "LONGNAME.PR"])
    return intake


def trade(**changes: Any) -> dict[str, Any]:
    return {
        "T": "t", "S": "AAPL", "i": 1, "x": "V", "p": 1.5, "s": 0.25, "c": ["@", "I"], "z": "C",
        "t": "2026-01-05T14:30:00.1Z", **changes,
    }  # fmt: skip


def quote(**changes: Any) -> dict[str, Any]:
    return {
        "T": "q", "S": "AAPL", "bx": "V", "bp": 1.25, "bs": 3, "ax": "V", "ap": 1.5, "as": 4, "c": ["R"], "z": "C",
        "t": "2026-01-05T14:30:00.123456789Z", **changes,
    }  # fmt: skip


def bar(**changes: Any) -> dict[str, Any]:
    return {
        "T": "b", "S": "AAPL", "o": 1.0, "h": 2.0, "l": 0.5, "c": 1.5, "v": 10, "n": 3, "vw": 1.2,
        "t": "2026-01-05T14:30:00Z", **changes,
    }  # fmt: skip


def frame_of(messages: Sequence[Any], is_msgpack: bool) -> bytes:
    """Return a frame as Alpaca sends it; msgpack has times as timestamps."""
    if not is_msgpack:
        return json.dumps(messages, separators=(",", ":")).encode()

    def stamped(message: Any) -> Any:
        text = message.get("t") if isinstance(message, dict) else None
        try:
            seconds, rest = divmod(parse_ns(text), 1_000_000_000) if isinstance(text, str) else (0, 0)
        except ValueError:
            return message
        if not isinstance(text, str):
            return message
        return {**message, "t": msgspec.msgpack.Ext(-1, struct.pack(">Q", (rest << 34) | seconds))}

    return msgspec.msgpack.encode([stamped(message) for message in messages])


def envelopes(intake: Intake) -> list[Envelope]:
    return [decode(value) for chunk in intake.cut() for value in chunk.values]


@BOTH
def test_messages_when_usual_then_envelopes_keep_short_keys_fractions_and_nanoseconds(is_msgpack: bool) -> None:
    """The payload is Alpaca's message without its type, whichever way it came."""
    intake = _intake(is_msgpack)
    assert intake.take(frame_of([trade(), quote()], is_msgpack), NOW_NS) == []
    first, second = envelopes(intake)
    assert (first.ingest_ts, first.feed, first.channel, first.symbol, first.seq) == (
        "2026-01-05T14:30:00.000000Z", "iex", "trades", "AAPL", 1_000_000,
    )  # fmt: skip
    assert (first.is_final, first.source, first.window, first.version) == (True, "ws", None, 1)
    expected = trade() if not is_msgpack else trade(t="2026-01-05T14:30:00.100Z")
    assert {"T": "t", **first.payload} == expected
    assert first.event_ts == expected["t"]
    assert ({"T": "q", **second.payload}, second.event_ts) == (quote(), quote()["t"])
    assert (intake.received, intake.dropped) == (2, {})


@BOTH
def test_keys_when_envelopes_are_written_then_in_the_contracts_order(is_msgpack: bool) -> None:
    """Readers by eye, and by prefix, rely on it; both ways of writing agree."""
    intake = _intake(is_msgpack)
    intake.take(frame_of([trade(), bar()], is_msgpack), NOW_NS)
    values = [json.loads(value) for chunk in intake.cut() for value in chunk.values]
    order = [
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
    assert [list(value) for value in values] == [order, order]


_NUMBERS = st.one_of(
    st.integers(1, 10**9),
    st.floats(0.001, 1e12, allow_nan=False).map(lambda value: round(value, 4)),
    st.floats(1e-9, 1e15, allow_nan=False),
)
_TIMES = st.integers(0, 4_000_000_000_000_000_000).map(format_ns)
_TRADES = st.builds(
    lambda **fields: trade(**fields),
    S=st.sampled_from(["AAPL", "MSFT", "LONGNAME.PR"]), i=st.integers(0, 2**63 - 1), p=_NUMBERS, s=_NUMBERS, t=_TIMES,
    x=st.sampled_from(["V", "D", "é", ""]), z=st.one_of(st.none(), st.booleans(), st.text(max_size=40)),
    c=st.lists(st.one_of(st.text(max_size=3), st.integers(-5, 5)), max_size=20),
)  # fmt: skip
_QUOTES = st.builds(
    lambda **fields: quote(**fields),
    S=st.sampled_from(["AAPL", "MSFT"]), bp=_NUMBERS, ap=_NUMBERS, bs=_NUMBERS, t=_TIMES,
    extra=st.one_of(st.integers(-9, 9), st.text(max_size=9)),
)  # fmt: skip


@BOTH
@settings(max_examples=150, deadline=None)
@given(messages=st.lists(st.one_of(_TRADES, _QUOTES), max_size=8))
def test_messages_when_of_any_shape_then_as_a_full_parser_reads_them(
    is_msgpack: bool, messages: list[dict[str, Any]]
) -> None:
    """The compiled pass takes what it reads exactly, and leaves the rest; values and order are those of the frame."""
    intake = _intake(is_msgpack)
    intake.take(frame_of(messages, is_msgpack), NOW_NS)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in sorted(envelopes(intake), key=lambda each: each.seq):
        found.setdefault((each.channel, each.symbol), []).append({**each.payload, "t": parse_ns(each.payload["t"])})
    expected: dict[tuple[str, str], list[dict[str, Any]]] = {}
    seen = set()
    for message in messages:
        if message["T"] == "t":
            identity = ("t", message["S"], message["x"], message["i"])
        else:
            identity = tuple(repr(message[name]) for name in ("S", "t", "bp", "ap", "bs"))  # type: ignore[assignment]
        if identity in seen:
            continue
        seen.add(identity)
        payload = {name: each for name, each in message.items() if name != "T"}
        channel = "trades" if message["T"] == "t" else "quotes"
        expected.setdefault((channel, message["S"]), []).append({**payload, "t": parse_ns(message["t"])})
    assert found == expected


@BOTH
def test_messages_when_bad_then_counted_by_reason_and_the_rest_passes(is_msgpack: bool) -> None:
    """Isolation per message, prices and sizes included; order and numbers are those of arrival."""
    intake = _intake(is_msgpack)
    bad = [
        trade(S=None), trade(S="A" * 40), trade(t=5), trade(t="yesterday"), trade(p="many"), trade(p=0), trade(p=-1.5),
        trade(s=-1), quote(bp=-0.01), quote(**{"as": None}), bar(h=0.1), bar(v=-1), {"T": "?"}, 7, None, {"S": "AAPL"},
        trade(S="NOBODY", i=9),
    ]  # fmt: skip
    good = [trade(i=number, t="2026-01-05T09:30:00-05:00") for number in range(len(bad))]
    mixed = [message for pair in zip(bad, good, strict=True) for message in pair]
    intake.take(frame_of(mixed, is_msgpack), NOW_NS)
    found = envelopes(intake)
    assert [each.payload["i"] for each in found] == list(range(len(bad)))
    assert [each.seq for each in found] == list(range(1_000_000, 1_000_000 + len(bad)))
    assert intake.dropped == {
        "bad_symbol": 2, "bad_time": 2, "bad_price": 5, "bad_size": 3, "unknown_type": 2, "not_an_object": 2,
        "not_subscribed": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("is_msgpack", "frame", "reason"),
    [
        (False, b"", "undecodable_frame"),
        (False, b"{", "undecodable"),
        (False, b"[1,", "undecodable_frame"),
        (False, b"\xff\xfe", "undecodable"),
        (False, b"not json at all", "undecodable"),
        (False, b"[" * 100_000, "undecodable_frame"),
        (False, b'[{"T":"t","S":"', "undecodable_frame"),
        (True, b"\xc1", "undecodable_frame"),
        (True, b"\x91\x85\xa1T\xa1t", "undecodable_frame"),
        (True, b"\xdd\xff\xff\xff\xff", "undecodable_frame"),
        (True, b"\x91" * 100_000 + b"\xc0", "undecodable"),
    ],
)
def test_frame_when_undecodable_then_counted_and_what_stood_before_the_break_passes(
    is_msgpack: bool, frame: bytes, reason: str
) -> None:
    """Garbage never ends a session, and costs no good message."""
    intake = _intake(is_msgpack)
    assert intake.take(frame, NOW_NS) == []
    assert intake.dropped.get(reason, 0) >= 1
    whole = frame_of([trade(), trade(i=2), trade(i=3)], is_msgpack)
    intake.take(whole[:-10], NOW_NS)
    assert [each.payload["i"] for each in envelopes(intake)] == [1, 2]


@BOTH
def test_control_messages_when_among_data_then_returned_and_not_counted(is_msgpack: bool) -> None:
    """An acknowledgement may share a frame with trades."""
    intake = _intake(is_msgpack)
    control = {"T": "subscription", "trades": ["AAPL"]}
    assert intake.take(frame_of([trade(), control, trade(i=2)], is_msgpack), NOW_NS) == [control]
    assert (len(envelopes(intake)), intake.received) == (2, 2)


@BOTH
def test_trades_when_repeated_within_ttl_then_dropped_and_counted(is_msgpack: bool) -> None:
    """A repeat does not renew: after the time to live the same message passes again."""
    now = [0.0]
    intake = _intake(is_msgpack, now)
    for at, count in ((0.0, 1), (4.0, 0), (5.0, 1)):
        now[0] = at
        intake.take(frame_of([trade()], is_msgpack), NOW_NS)
        assert len(envelopes(intake)) == count
    assert intake.repeats == {"trades": 1}


@BOTH
def test_trades_when_symbol_or_exchange_differ_then_the_same_number_is_another_trade(is_msgpack: bool) -> None:
    """Identity is kind, symbol, exchange and id; of a quote, all that it says."""
    intake = _intake(is_msgpack)
    trades = [trade(), trade(x="D"), trade(S="MSFT"), trade()]
    intake.take(frame_of([*trades, quote(), quote(ap=1.75), quote()], is_msgpack), NOW_NS)
    assert (len(envelopes(intake)), intake.repeats) == (5, {"trades": 1, "quotes": 1})


@BOTH
def test_bars_when_corrected_twice_within_ttl_then_every_revision_passes(is_msgpack: bool) -> None:
    """A correction is a revision, never a duplicate of the bar or of another correction."""
    intake = _intake(is_msgpack)
    intake.take(frame_of([bar(), bar(T="u", v=11), bar(T="u", v=12), bar(T="u", v=12)], is_msgpack), NOW_NS)
    found = envelopes(intake)
    assert [(each.channel, each.is_final, each.payload["v"]) for each in found] == [
        ("bars", True, 10),
        ("updatedBars", False, 11),
        ("updatedBars", False, 12),
    ]


@BOTH
def test_corrections_and_cancels_when_they_come_then_in_the_trades_topic_with_their_type(is_msgpack: bool) -> None:
    """As Alpaca sent them, numbered like trades of the symbol."""
    correction = {
        "T": "c", "S": "AAPL", "x": "V", "oi": 1, "op": 1.5, "os": 1, "oc": ["@"], "ci": 2, "cp": 1.6, "cs": 1,
        "cc": ["@"], "z": "C", "t": "2026-01-05T14:30:01Z",
    }  # fmt: skip
    cancel = {"T": "x", "S": "AAPL", "i": 1, "x": "V", "p": 1.5, "s": 1, "a": "C", "t": "2026-01-05T14:30:02Z"}
    intake = _intake(is_msgpack)
    intake.take(frame_of([trade(), correction, cancel], is_msgpack), NOW_NS)
    found = envelopes(intake)
    assert [(each.channel, each.seq, each.payload.get("T")) for each in found] == [
        ("trades", 1_000_000, None),
        ("trades", 1_000_001, "c"),
        ("trades", 1_000_002, "x"),
    ]
    assert found[1].payload == correction


@BOTH
def test_halts_when_they_come_then_in_the_status_topic(is_msgpack: bool) -> None:
    """Trading statuses are data too."""
    halt = {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "News", "z": "C"}
    intake = _intake(is_msgpack)
    intake.take(frame_of([{**halt, "t": "2026-01-05T14:30:01Z"}], is_msgpack), NOW_NS)
    (found,) = envelopes(intake)
    assert (found.channel, found.symbol, found.payload["sc"]) == ("status", "AAPL", "H")


def test_rows_when_more_than_one_buffer_then_none_is_lost_and_partitions_keep_order() -> None:
    """Frames larger than the room for rows, and records larger than all of it, pass as any other."""
    intake = _intake(partitions=dict.fromkeys(CHANNELS, 3), dedup_max_entries=100_000)
    intake.want([f"S{number}" for number in range(40)])
    messages = [trade(i=number, S=f"S{number % 40}") for number in range(20_000)]
    intake.take(frame_of(messages, False), NOW_NS)
    giant = trade(i=99_999, S="S1", z="x" * 3_000_000)
    intake.take(frame_of([giant], False), NOW_NS)
    chunks = intake.cut()
    found: dict[str, list[int]] = {}
    for chunk in chunks:
        for key, value in zip(chunk.keys, chunk.values, strict=True):
            envelope = decode(value)
            assert key == envelope.symbol.encode()
            found.setdefault(envelope.symbol, []).append(envelope.payload["i"])
    assert sum(map(len, found.values())) == 20_001
    assert found["S7"] == list(range(7, 20_000, 40))
    assert found["S1"][-1] == 99_999
    assert {chunk.partition for chunk in chunks} == {0, 1, 2}
    assert all(chunk.size == sum(map(len, chunk.values)) for chunk in chunks)


def test_rest_trades_when_the_stream_brought_them_then_not_put_again() -> None:
    """Backfill is idempotent by exchange and number, and a trade that was dropped may come again."""
    from torghut_core.ingest.messages import read_message

    intake = _intake(trade_memory=100)
    intake.take(frame_of([trade(i=1), trade(i=2)], False), NOW_NS)
    (chunk,) = intake.cut()
    put = [intake.put(read_message(trade(i=number)), NOW_NS, "rest") for number in (1, 2, 3, 3)]
    assert put == [False, False, True, False]
    intake.forget_trades(chunk)
    assert intake.put(read_message(trade(i=2)), NOW_NS, "rest")
    assert {each.source for each in envelopes(intake)} == {"rest"}


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_seen_when_used_in_any_order_then_as_a_plain_list_would(steps: list[tuple[int, int]]) -> None:
    """Age, number and deletion beside the obvious way to do it."""
    table, plain, now = SeenTable(5.0, 4), list[tuple[int, float]](), 0.0
    for key, wait in steps:
        now += wait
        while plain and (now - plain[0][1] >= 5.0 or len(plain) >= 4):
            plain.pop(0)
        expected = any(known == key for known, _ in plain)
        if not expected:
            plain.append((key, now))
        assert is_repeat(table.address, *identity_of(key), now) == expected
        assert len(table) == len(plain)
