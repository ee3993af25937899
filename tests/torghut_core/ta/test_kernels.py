"""Compiled code: what a stream needs is compiled before the first record, or its first window would wait seconds."""

from __future__ import annotations

from typing import Any

import pytest

from torghut_core.engines import kafka_batches, kafka_columns
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.rfc3339 import format_ns
from torghut_core.ta import indicators, json_rows, quotes, scanner, verdicts, windows
from torghut_core.ta.checkpoint import Checkpoint, pack, unpack
from torghut_core.ta.decode import Decoder
from torghut_core.ta.engine import Engine, EngineSettings
from torghut_core.ta.rows import to_records, to_tables
from torghut_core.ta.service import warm_up

START = 1_780_408_800
MODULES = (indicators, json_rows, quotes, scanner, verdicts, windows, kafka_batches, kafka_columns)


def _envelope(channel: str, symbol: str, seconds: float, payload: str) -> bytes:
    at = format_ns(int((START + seconds) * 1e9))
    return (
        f'{{"ingest_ts":"{at}","event_ts":"{at}","feed":"sip","channel":"{channel}","symbol":"{symbol}","seq":1,'
        f'"is_final":true,"source":"ws","window":null,"payload":{payload.replace("AT", at)},"version":1}}'
    ).encode()


def _trade(symbol: str, seconds: float, price: float) -> bytes:
    return _envelope("trades", symbol, seconds, f'{{"S":"{symbol}","p":{price},"s":100,"t":"AT"}}')


def _quote(symbol: str, seconds: float) -> bytes:
    return _envelope("quotes", symbol, seconds, f'{{"S":"{symbol}","bp":9,"bs":1,"ap":11,"as":2,"t":"AT"}}')


def _bar(symbol: str, seconds: float) -> bytes:
    payload = f'{{"S":"{symbol}","o":1,"h":2,"l":1,"c":2,"v":10,"vw":1.5,"n":3,"t":"AT"}}'
    return _envelope("bars", symbol, seconds, payload)


def _signatures() -> dict[str, int]:
    kernels: dict[str, Any] = {
        f"{module.__name__}.{name}": each
        for module in MODULES
        for name, each in vars(module).items()
        if hasattr(each, "signatures")
    }
    return {name: len(each.signatures) for name, each in kernels.items()}


@pytest.mark.parametrize("late_trades", ["drop", "revise"])
def test_kernels_when_a_stream_passes_then_nothing_more_is_compiled(late_trades: str) -> None:
    """One batch or many, bad records among them, late trades, silence, minute bars, a restart: the same types always."""
    warm_up()
    before = _signatures()
    options = EngineSettings(max_out_of_order_ms=1000, revises_late_trades=late_trades == "revise")
    engine, decoder, told = Engine(options), Decoder(), 0
    for second in range(8):
        symbols = [f"S{number}" for number in range(second % 3 + 1)]
        trades = [_trade(symbol, second + 0.2, 10 + second) for symbol in symbols]
        trades += [b"{", _trade("S0", second + 0.3, -1), _trade("S0", second - 3, 9)][: second % 4]
        engine.add(decoder.trades(ByteColumn.terminated(trades)))
        if second % 2:
            engine.add(decoder.trades(ByteColumn.terminated([_trade("S1", second + 0.4, 12)])))
        engine.add(decoder.quotes(ByteColumn.terminated([_quote(symbol, second + 0.1) for symbol in symbols])))
        engine.add(decoder.bars([_bar("S0", second)]))
        for block in engine.emit(frozenset(["bars"]) if second < 6 else frozenset(["trades", "quotes", "bars"])):
            told += sum(len(to_records(rows, "sip")[1]) for rows in to_tables(block, 1_780_408_800_000))
        if second == 4:
            held = Checkpoint(group="g", partition=0, offsets={}, ingest_ms=0, output_rows=0, engine=engine)
            engine = unpack(pack(held), options, "g/0").engine
    single = Engine(options)
    single.add(Decoder().trades(ByteColumn.terminated([_trade("S0", 0.2, 10)] * 2)))
    assert single.finish()
    assert told > 10
    assert _signatures() == before
