"""Bad input is counted by reason and costs itself alone; the compiled scan reads what a JSON parser reads."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.ta_inputs import START, bar, quote, trade
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.rfc3339 import format_ns, parse_ns
from torghut_core.ta.decoding import kinds, scanner
from torghut_core.ta.decoding.columns import Amendment, Replacement
from torghut_core.ta.decoding.conditions import condition_bits, identity
from torghut_core.ta.decoding.decode import Decoder
from torghut_core.ta.decoding.lines import LineDecoder
from torghut_core.ta.decoding.timestamps import INVALID, parse_column

GOOD = trade("AAPL", 1, 10.5, 7).value


def _changed(**fields: Any) -> bytes:
    said = json.loads(GOOD)
    payload = {key: fields.pop(key) for key in list(fields) if key in ("p", "s")}
    return json.dumps(said | fields | {"payload": said["payload"] | payload}).encode()


def _without(*names: str) -> bytes:
    said = json.loads(GOOD)
    for name in names:
        said.pop(name, None)
        said["payload"].pop(name, None)
    return json.dumps(said).encode()


BAD: dict[str, tuple[bytes, str]] = {
    "truncated": (GOOD[:-9], "undecodable"),
    "empty": (b"", "undecodable"),
    "not json": (b"\xff\x00\x01", "undecodable"),
    "two documents": (GOOD + GOOD, "undecodable"),
    "trailing comma": (GOOD[:-1] + b",}", "undecodable"),
    "NaN price": (GOOD.replace(b"10.5", b"NaN"), "undecodable"),
    "price is text": (_changed(p="10.5"), "undecodable"),
    "price is missing": (_without("p"), "undecodable"),
    "price is null": (_changed(p=None), "undecodable"),
    "huge price": (GOOD.replace(b"10.5", b"1e999"), "undecodable"),
    "zero price": (_changed(p=0), "bad_price"),
    "negative price": (_changed(p=-1.5), "bad_price"),
    "negative size": (_changed(s=-1), "bad_size"),
    "time is missing": (_without("event_ts"), "undecodable"),
    "time is a number": (_changed(event_ts=12), "undecodable"),
    "time is empty": (_changed(event_ts=""), "bad_time"),
    "time is no time": (_changed(event_ts="yesterday"), "bad_time"),
    "time has no zone": (_changed(event_ts="2026-06-02T14:00:01"), "bad_time"),
    "no such day": (_changed(event_ts="2026-02-30T14:00:01Z"), "bad_time"),
    "time in the far future": (_changed(event_ts="2099-01-01T00:00:00Z"), "outlier_trades"),
    "time before 1970": (_changed(event_ts="1969-12-31T23:59:59Z"), "bad_time"),
    "empty symbol": (_changed(symbol=""), "bad_symbol"),
    "symbol of ten thousand characters": (_changed(symbol="A" * 10_000), "bad_symbol"),
    "channel of another topic": (_changed(channel="quotes"), "unknown_channel"),
    "unknown channel": (_changed(channel="news"), "unknown_channel"),
    "channel is a number": (_changed(channel=7), "undecodable"),
    "nested too deep": (GOOD[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "undecodable"),
    "nested too deep and open": (b'{"x":' + b"[" * 100_000, "undecodable"),
    "payload said again without a size": (GOOD[:-1] + b',"payload":{"p":1}}', "undecodable"),
    "payload said again as null": (GOOD[:-1] + b',"payload":null}', "undecodable"),
    "price beyond all": (_changed(p=1e31), "bad_price"),
    "size beyond all": (_changed(s=1e31), "bad_size"),
    "no such zone": (_changed(event_ts="2026-06-02T14:00:01+99:99"), "bad_time"),
    "time half an hour after its ingest": (_changed(event_ts="2026-06-02T14:30:01Z"), "outlier_trades"),
    "unprintable symbol": (_changed(symbol="A\u0007"), "bad_symbol"),
}


@pytest.mark.parametrize("name", BAD)
def test_record_when_it_is_bad_then_counted_by_reason_and_its_neighbours_are_kept(name: str) -> None:
    """Good records around a bad one are read; the bad one is counted under its reason."""
    record, reason = BAD[name]
    decoder = Decoder()
    first = decoder.trades([GOOD])  # what time it is, is known from the first
    assert first.trades is not None
    found = decoder.trades([GOOD, record, GOOD])
    assert found.trades is not None
    assert found.trades.price.tolist() == [10.5, 10.5]
    assert {key: count for key, count in found.rejected.items() if count} == {reason: 1}
    assert decoder.table.names == ["AAPL"]


def test_symbols_when_their_records_cannot_be_used_then_they_take_no_place() -> None:
    """A million records that no row comes of leave no symbol behind, however they were read."""
    decoder = Decoder()
    bad = [{"p": 1, "s": -1}, {"p": 0, "s": 1}, {"p": 1e31, "s": 1}]
    records = [_changed(symbol=f"S{number}", **bad[number % 3]) for number in range(3000)]
    records += [_changed(symbol=f"T{number}", event_ts="2099-01-01T00:00:00Z") for number in range(10)]
    found = decoder.trades([GOOD, *records, trade("B", 1, 5).value])
    assert found.trades is not None
    assert [found.trades.symbol.names[place] for place in found.trades.symbol.index] == ["AAPL", "B"]
    assert (decoder.table.names, found.rejected["bad_price"] + found.rejected["bad_size"]) == (["AAPL", "B"], 3000)
    decoder.quotes([quote(f"Q{number}", 1, -1, 2).value for number in range(10)])
    decoder.bars([bar(f"R{number}", 0, -1).value for number in range(10)])
    assert decoder.table.names == ["AAPL", "B"]


@pytest.mark.parametrize("trades", [10**15, 2**63, 10**30])
def test_bar_when_its_count_is_absurd_then_counted_and_its_neighbour_is_kept(trades: int) -> None:
    """No number of trades stops the job, or leaves shortened."""
    good = bar("A", 0, 7).value
    said = json.loads(good)
    found = Decoder().bars([json.dumps(said | {"payload": said["payload"] | {"n": trades}}).encode(), good])
    assert found.bars is not None
    assert (found.bars.close.tolist(), found.rejected["bad_size"]) == ([7], 1)


def test_bar_when_its_channel_is_another_then_counted() -> None:
    """Bars and their updates are read, and nothing else of that topic."""
    said = json.loads(bar("A", 0, 7).value)
    records = [json.dumps(said | {"channel": each}).encode() for each in ("updatedBars", "trades", "bars", "news")]
    found = Decoder().bars(records)
    assert found.bars is not None
    assert (len(found.bars.close), found.rejected["unknown_channel"]) == (2, 2)


def test_first_record_when_its_time_is_absurd_then_refused() -> None:
    """The very first record cannot carry the watermark away either."""
    found = Decoder().trades([BAD["time in the far future"][0], GOOD])
    assert found.trades is not None
    assert (found.trades.at_ns.tolist(), found.rejected["outlier_trades"]) == ([(START + 1) * 10**9], 1)


def test_night_when_it_lies_between_records_then_the_jump_is_accepted() -> None:
    """A jump that its own ingest time confirms is no fault."""
    found = Decoder().trades([GOOD, trade("AAPL", 60_000, 11).value])
    assert found.trades is not None
    assert len(found.trades.price) == 2


OTHER_SHAPES = {
    "camel case": GOOD.replace(b"ingest_ts", b"ingestTs").replace(b"event_ts", b"eventTs").replace(b"is_f", b"isF"),
    "spaces": json.dumps(json.loads(GOOD), indent=1).replace("\n", " ").encode(),
    "tab first": b"\t" + GOOD,
    "line end first": b"\r\n" + GOOD,
    "no channel": _without("channel"),
    "both spellings": GOOD[:-1] + b',"eventTs":"2026-06-02T14:00:09Z"}',
    "price said twice": GOOD.replace(b'"p":', b'"p":99,"p":'),
    "newlines": json.dumps(json.loads(GOOD), indent=1).encode(),
    "msgpack": msgspec.msgpack.encode(json.loads(GOOD)),
    "unknown keys": GOOD.replace(b'{"ingest', b'{"extra":{"deep":[1,{"a":null}]},"more":[1,"x",true],"ingest'),
    "escapes": GOOD.replace(b'"AAPL"', b'"\\u0041APL"'),
    "exponent": GOOD.replace(b"10.5", b"1.05e1"),
    "many digits": GOOD.replace(b"10.5", b"10.500000000000000000000000"),
    "whole price": GOOD.replace(b"10.5", b"10.50"),
    "another zone": _changed(event_ts="2026-06-02T10:00:01-04:00"),
    "nanoseconds": _changed(event_ts="2026-06-02T14:00:01.000000000Z"),
}


@pytest.mark.parametrize("name", OTHER_SHAPES)
def test_record_when_it_is_unusual_but_valid_then_read_the_same(name: str) -> None:
    """Readers accept unknown keys, the older spelling, msgpack, and every legal way to write the same values."""
    found = Decoder().trades([GOOD, OTHER_SHAPES[name]])
    assert found.trades is not None
    assert found.trades.symbol.index.tolist() == [0, 0]
    assert (found.trades.at_ns.tolist(), found.trades.price.tolist()) == ([(START + 1) * 10**9] * 2, [10.5] * 2)
    assert found.rejected.total() == 0


_NUMBERS = st.one_of(
    st.floats(0.0001, 1e6, allow_nan=False),
    st.integers(0, 10**18),
    st.decimals(0, 10**6, places=4).map(float),
)


@settings(max_examples=300, deadline=None)
@given(price=_NUMBERS, size=_NUMBERS)
def test_scan_when_it_reads_a_number_then_it_is_the_float_a_parser_reads(price: float, size: float) -> None:
    """Bit for bit the value of `json.loads`, whether the scan or the parser read it."""
    record = _changed(p=price, s=size)
    said = json.loads(record)["payload"]
    found = Decoder().trades([record])
    if said["p"] > 0:
        assert found.trades is not None
        assert (found.trades.price[0], found.trades.size[0]) == (float(said["p"]), float(said["s"]))


_ENVELOPES = {"trade": GOOD, "quote": quote("AAPL", 1, 10.25, 10.5).value}
_MESSAGES = {
    "trade message": b'{"T":"t","S":"AAPL","i":1,"x":"V","p":10.5,"s":7,"c":["@"],"z":"C","t":"2026-06-02T14:00:01.123456789Z"}',
    "quote message": b'{"T":"q","S":"AAPL","bx":"V","bp":10.25,"bs":1,"ax":"V","ap":10.5,"as":2,"t":"2026-06-02T14:00:01.5Z"}',
}
_VALUES = {kinds.TRADE: ("p", "s"), kinds.QUOTE: ("bp", "ap", "bs", "as")}


def _said(record: bytes) -> tuple[int, str, list[float], tuple[int, int, int]]:
    """Return what a full parser reads in a record that the scan took; the last is ingest time, conditions, identity."""
    said = msgspec.json.decode(record)
    payload = said.get("payload", said)
    kind = {"t": kinds.TRADE, "q": kinds.QUOTE}.get(said.get("T"))
    kind = kind or (kinds.QUOTE if "bp" in payload else kinds.TRADE)
    time = said.get("event_ts") or said.get("eventTs") or said["t"]
    ingest = said.get("ingest_ts") or said.get("ingestTs")
    more = (
        INVALID if ingest is None else parse_ns(ingest),
        condition_bits(payload.get("c"), payload.get("z")),
        identity(payload.get("i"), payload.get("x")),
    )
    return parse_ns(time), said.get("symbol") or said["S"], [payload[name] for name in _VALUES[kind]], more


def _more(found: scanner.Scanned, row: int) -> tuple[int, int, int]:
    return int(found.ingest_ns[row]), int(found.conditions[row]), int(found.identity[row])


@pytest.mark.parametrize("name", [*_ENVELOPES, *_MESSAGES])
def test_scan_when_any_byte_is_changed_then_it_never_accepts_what_a_parser_refuses(name: str) -> None:
    """Every byte of a record made every other byte: what the scan takes, a full parser reads to the same values."""
    good = (_ENVELOPES | _MESSAGES)[name]
    records = [good[:at] + bytes([byte]) + good[at + 1 :] for at in range(len(good)) for byte in range(256)]
    wanted = kinds.ANY if name in _MESSAGES else kinds.TRADE if name == "trade" else kinds.QUOTE
    found = scanner.scan_records(ByteColumn.terminated(records), wanted, scanner.SymbolTable())
    taken = np.flatnonzero(found.kind != kinds.UNUSUAL)
    assert len(taken) > len(good)
    for row in taken.tolist():
        time, symbol, values, more = _said(records[row])
        if found.kind[row] == kinds.TRADE:
            assert _more(found, row) == more, records[row]
        packed = scanner.unpacked(int(found.packed[row]))
        assert (found.at_ns[row], packed, found.values[row, : len(values)].tolist()) == (time, symbol, values), records[
            row
        ]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_scan_when_several_bytes_are_changed_then_it_never_accepts_what_a_parser_refuses(data: st.DataObject) -> None:
    """The same for insertions, deletions and changes at several places."""
    record = data.draw(st.sampled_from([*_ENVELOPES.values()]))
    wanted = kinds.TRADE if record is GOOD else kinds.QUOTE
    alphabet = st.sampled_from([bytes([byte]) for byte in b'0123456789.-eE+"{}[],: tfnul\\\n\r\xc3'] + [b""])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(record) - 1))
        record = record[:place] + data.draw(alphabet) + record[place + data.draw(st.integers(0, 1)) :]
    found = scanner.scan_records(ByteColumn.terminated([record]), wanted, scanner.SymbolTable())
    if found.kind[0] != kinds.UNUSUAL:
        time, symbol, values, more = _said(record)
        assert found.kind[0] == kinds.QUOTE or _more(found, 0) == more
        assert (found.at_ns[0], scanner.unpacked(int(found.packed[0]))) == (time, symbol)
        assert found.values[0, : len(values)].tolist() == values


@settings(max_examples=300, deadline=None)
@given(ns=st.integers(0, 4_607_279_999 * 10**9), digits=st.integers(0, 9), cut=st.integers(0, 29))
def test_timestamps_when_parsed_as_a_column_then_as_one_by_one(ns: int, digits: int, cut: int) -> None:
    """The column parser and the scan agree with the exact parser on any fraction; damaged ones are INVALID."""
    seconds, fraction = divmod(ns, 10**9)
    text = format_ns(seconds * 10**9)[:19] + (f".{fraction:09d}"[: digits + 1] if digits else "") + "Z"
    damaged = text[:cut] + "x" + text[cut + 1 :]
    assert parse_column([text, damaged, text]).tolist() == [parse_ns(text), INVALID, parse_ns(text)]
    record = GOOD.replace(format_ns((START + 1) * 10**9).encode(), text.encode(), 2)
    found = scanner.scan_records(ByteColumn.terminated([record]), kinds.TRADE, scanner.SymbolTable())
    assert (found.kind[0], found.at_ns[0]) == (kinds.TRADE, parse_ns(text))


def test_symbols_when_there_are_many_then_each_keeps_its_place() -> None:
    """The compiled index grows with the table, and long symbols take the other way."""
    names = [f"S{i}" for i in range(5000)] + ["AAPL240119C00150000"]
    records = [trade(name, 1, 10).value for name in names]
    decoder = Decoder()
    for _ in range(2):
        found = decoder.trades(records)
        assert found.trades is not None
        assert [found.trades.symbol.names[i] for i in found.trades.symbol.index.tolist()] == names


def _line(kind: str, **fields: Any) -> str:
    return json.dumps({"T": kind, "S": "A", "t": "2026-06-02T14:00:01.5Z", **fields})


TRADE = _line("t", p=10.25, s=3, c=["@"])
QUOTE = _line("q", bp=9, ap=10, bs=1, **{"as": 2})
BAR = _line("b", o=1, h=3, l=1, c=2, v=5, vw=2.5, n=4)


def _lines(*lines: str | bytes) -> Any:
    text = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    return LineDecoder().decode(text)


def test_lines_when_messages_and_envelopes_mix_then_each_kind_is_in_the_order_of_the_lines() -> None:
    """Alpaca messages, frames of several, envelopes and blank lines may alternate."""
    found = _lines(
        TRADE, "", f"[{TRADE},{QUOTE}]", trade("B", 2, 11).value, QUOTE, BAR, _line("u", o=1, h=3, l=1, c=2, v=5),
        bar("B", 0, 7).value, quote("B", 2, 5, 6).value,
    )  # fmt: skip
    assert found.trades.price.tolist() == [10.25, 10.25, 11]
    assert found.quotes.values[:, 0].tolist() == [9, 9, 5]
    assert found.bars.close.tolist() == [2, 2, 7]
    assert np.isnan(found.bars.vwap[1])
    assert found.rejected.total() == 0


def test_lines_when_one_is_an_array_then_the_others_are_read_as_without_it() -> None:
    """Carriage returns between members stay white space, and a frame may be indented."""
    spread = TRADE.replace(",", ",\r", 1)
    found = _lines(spread, f"  [{TRADE}]", spread, "[" * 100_000 + "]" * 100_000)
    assert (found.trades.price.tolist(), found.rejected) == ([10.25] * 3, {"undecodable": 1})


def test_lines_when_some_are_bad_then_counted_by_reason() -> None:
    """Control messages are told from unknown ones; what a time is worth that says no ingest time is not decided here."""
    found = _lines(
        TRADE, '{"T":"success","msg":"connected"}', '{"T":"?"}', '{"channel":"news"}', "{", "[{]", "7", "[1]", "{}",
        _line("t", p=1, s=1, t="2099-01-01T00:00:00Z"), _line("b", c=["@"]), _line("t", p=-1, s=1),
        _line("q", bp=-9, ap=10),
    )  # fmt: skip
    assert found.trades.price.tolist() == [10.25, 1]
    assert {reason: count for reason, count in found.rejected.items() if count} == {
        "other_message": 1,
        "unknown_channel": 3,
        "undecodable": 5,
        "bad_price": 2,
    }


def test_times_when_some_lie_after_their_ingest_time_then_only_those_go() -> None:
    """A minute after its ingest time a trade is an outlier, whatever came before it; exactly a minute is none."""
    at = (START + 3600) * 10**9
    records = []
    for ahead in (0, 60 * 10**9, 60 * 10**9 + 1, 10**13):
        said = json.loads(GOOD) | {"event_ts": format_ns(at + ahead), "ingest_ts": format_ns(at)}
        records.append(json.dumps(said).encode())
    found = Decoder().trades(records)
    assert found.trades is not None
    assert (found.trades.at_ns.tolist(), dict(found.rejected)) == ([at, at + 60 * 10**9], {"outlier_trades": 2})
    quotes = Decoder().quotes([_later(quote("A", 1, 2, 3).value), quote("A", 1, 2, 3).value])
    assert quotes.quotes is not None
    assert (len(quotes.quotes.at_ns), quotes.rejected["outlier_quotes"]) == (1, 1)
    bars = Decoder().bars([_later(bar("A", 0, 7).value), bar("A", 0, 7).value])
    assert bars.bars is not None
    assert (len(bars.bars.end_ns), bars.rejected["outlier_bars"]) == (1, 1)


def _later(record: bytes) -> bytes:
    return json.dumps(json.loads(record) | {"event_ts": "2099-01-01T00:00:00Z"}).encode()


CORRECTION = {"T": "c", "S": "A", "x": "V", "oi": 7, "op": 10.0, "os": 5, "ci": 8, "cp": 11.0, "cs": 6, "z": "A"}
CANCEL = {"T": "x", "S": "A", "i": 7, "x": "V", "p": 10.0, "s": 5, "a": "C", "z": "A"}


def _of_trades(payload: dict[str, Any]) -> bytes:
    at = {"ingest_ts": "2026-01-05T14:30:01Z", "event_ts": "2026-01-05T14:30:00Z"}
    return json.dumps({**at, "symbol": "A", "channel": "trades", "payload": payload}).encode()


@pytest.mark.parametrize("order", ["first", "last"])
def test_trades_when_a_cancel_or_correction_travels_with_them_then_it_amends_and_is_no_trade(order: str) -> None:
    """A cancel has a price and a size and would be a second trade; where its `T` stands in the payload does not matter."""

    def record(payload: dict[str, Any]) -> bytes:
        kind = payload["T"]
        rest = {key: value for key, value in payload.items() if key != "T"}
        return _of_trades({"T": kind, **rest} if order == "first" else {**rest, "T": kind})

    its = identity(7, "V")
    changed = Replacement(11.0, 6.0, condition_bits(None, "A"), identity(8, "V"))
    trade = record({"T": "t", "p": 10.0, "s": 5})
    found = Decoder().trades([trade, record(CANCEL), b"{", record(CORRECTION), trade])
    assert found.trades is not None
    assert (len(found.trades.at_ns), dict(found.rejected)) == (2, {"undecodable": 1})
    assert list(found.amendments) == [Amendment(1, "A", its, None), Amendment(1, "A", its, changed)]
    message = json.dumps({**CANCEL, "t": "2026-01-05T14:30:00Z"})
    lines = LineDecoder().decode(b"\n".join([trade, record(CORRECTION), trade, message.encode()]))
    assert lines.trades is not None
    assert (len(lines.trades.at_ns), lines.rejected.total()) == (2, 0)
    assert list(lines.amendments) == [Amendment(1, "A", its, changed), Amendment(2, "A", its, None)]


BAD_AMENDMENTS = {
    "cancel without an id": ({"T": "x", "x": "V"}, "undecodable"),
    "cancel of no id": ({**CANCEL, "i": None}, "undecodable"),
    "correction without a price": ({**CORRECTION, "cp": None}, "undecodable"),
    "correction to no price": ({**CORRECTION, "cp": 0}, "bad_price"),
    "correction to a negative size": ({**CORRECTION, "cs": -1}, "bad_size"),
}


@pytest.mark.parametrize("name", BAD_AMENDMENTS)
def test_amendment_when_it_cannot_be_read_then_counted_by_reason(name: str) -> None:
    """It changes nothing, and its neighbours are read."""
    payload, reason = BAD_AMENDMENTS[name]
    found = Decoder().trades([GOOD, _of_trades(payload), GOOD])
    assert found.trades is not None
    assert (len(found.trades.at_ns), list(found.amendments), dict(found.rejected)) == (2, [], {reason: 1})


_CODES: list[Any] = [
    None, [], ["@"], [" "], ["I"], ["@", "F", "T", "I"], ["Z", "9", "1", "0"], ["?"], ["a"], ["é"], ["TT"], [""], "I T",
    7, {"a": 1}, [7], ['"'], ["\\"], ["@"] * 20 + ["W"],
]  # fmt: skip
_IDS: list[Any] = [None, 0, 1, 55, 12345678, 123456789, 10**15, 10**16 - 1, 10**16, 10**30, -3, 1.5, "a-7", True, []]


@pytest.mark.parametrize("shape", ["envelope", "message"])
def test_scan_when_it_reads_conditions_and_ids_then_they_are_what_a_parser_reads(shape: str) -> None:
    """Codes, tape, id and exchange in any form, by the scan or by the parser, give the same bits."""
    wanted, records = [], []
    for codes, tape, number, exchange in [
        *((codes, tape, 5, "V") for codes in _CODES for tape in ("A", "B", "C", "N", None, "AB", 7)),
        *((["@"], "A", number, exchange) for number in _IDS for exchange in ("V", None, "", "NASDAQ", "é", '"')),
    ]:
        payload = {"i": number, "x": exchange, "p": 1.5, "s": 2, "c": codes, "z": tape}
        body = {"T": "t", "S": "A", **payload, "t": "2026-01-05T14:30:00Z"}
        records.append(_of_trades(payload) if shape == "envelope" else json.dumps(body).encode())
        wanted.append((condition_bits(codes, tape), identity(number, exchange)))
    decoded = Decoder().trades(records) if shape == "envelope" else LineDecoder().decode(b"\n".join(records))
    assert decoded.trades is not None
    assert list(zip(decoded.trades.conditions.tolist(), decoded.trades.identity.tolist(), strict=True)) == wanted
    assert len(set(wanted)) > 60


def test_identity_when_exchange_or_id_differ_then_it_is_another() -> None:
    """Within a symbol two prints are one only when both are the same; without an id a print is never another again."""
    numbers = [
        identity(number, exchange) for number in (0, 1, 255, 256, 10**16, "1", 1.5) for exchange in ("A", "B", None)
    ]
    assert len(set(numbers)) == len(numbers)
    assert (0 in numbers, identity(None, "A")) == (False, 0)
