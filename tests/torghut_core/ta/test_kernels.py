"""Compiled code: what a stream needs is compiled before the first record, or its first window would wait seconds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.ta_inputs import bar, cancel, quote, trade
from torghut_core.engines import kafka_batches, kafka_columns
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.ta.checkpoint import Checkpoint, pack, unpack
from torghut_core.ta.decoding import scanner, verdicts
from torghut_core.ta.decoding.decode import Decoder
from torghut_core.ta.engine import indicators, outliers, prices, quotes, reduction
from torghut_core.ta.engine.engine import Engine, EngineSettings
from torghut_core.ta.outputs import json_rows
from torghut_core.ta.outputs.rows import to_records, to_tables
from torghut_core.ta.wiring import warm_up

MODULES = (indicators, json_rows, outliers, prices, quotes, scanner, verdicts, reduction, kafka_batches, kafka_columns)


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
        trades = [trade(symbol, second + 0.2, 10 + second).value for symbol in symbols]
        trades += [b"{", trade("S0", second + 0.3, -1).value, trade("S0", second - 3, 9).value][: second % 4]
        trades += [trade("S0", second + 0.4, 9, codes="IT").value] * 2
        trades += [trade("S1", second + 0.4, 9, ingest_after=None).value, cancel("S1", second + 0.5, 1).value]
        engine.add(decoder.trades(ByteColumn.terminated(trades)))
        if second % 2:
            engine.add(decoder.trades(ByteColumn.terminated([trade("S1", second + 0.4, 12).value])))
        engine.add(
            decoder.quotes(ByteColumn.terminated([quote(symbol, second + 0.1, 9, 11).value for symbol in symbols]))
        )
        engine.add(decoder.bars([bar("S0", second, 2).value]))
        for block in engine.emit(frozenset(["bars"]) if second < 6 else frozenset(["trades", "quotes", "bars"])):
            told += sum(len(to_records(rows, "sip")[1]) for rows in to_tables(block, 1_780_408_800_000))
        if second == 4:
            held = Checkpoint(group="g", partition=0, offsets={}, ingest_ms=0, output_rows=0, engine=engine)
            engine = unpack(pack(held), options, "g/0").engine
    single = Engine(options)
    single.add(Decoder().trades(ByteColumn.terminated([trade("S0", 0.2, 10).value] * 2)))
    assert single.finish()
    assert told > 10
    assert _signatures() == before
