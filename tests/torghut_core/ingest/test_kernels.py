"""Compiled passes: nothing is compiled once frames come, or the first of them would wait for seconds."""

from __future__ import annotations

from typing import Any

from tests.torghut_core.ingest.test_intake import bar, frame_of, quote, trade
from torghut_core.ingest import intake, json_rows, msgpack_rows, rows, seen, writing
from torghut_core.ingest.intake import Intake
from torghut_core.ingest.messages import read_message
from torghut_core.ingest.rows import CHANNELS

MODULES = (json_rows, msgpack_rows, rows, seen, writing)


def _signatures() -> dict[str, int]:
    kernels: dict[str, Any] = {
        f"{module.__name__}.{name}": each
        for module in MODULES
        for name, each in vars(module).items()
        if hasattr(each, "signatures")
    }
    return {name: len(each.signatures) for name, each in kernels.items()}


def test_passes_when_frames_of_every_kind_come_then_nothing_more_is_compiled() -> None:
    """Good and bad messages, repeats, backfill, many symbols, with and without a memory of trades."""
    intake.warm_up()
    before = _signatures()
    for is_msgpack in (False, True):
        for memory in (0, 100):
            taken = Intake("iex", is_msgpack, 1, 5.0, 10, dict.fromkeys(CHANNELS, 3), trade_memory=memory)
            taken.want([f"S{number}" for number in range(200)] + ["AAPL"])
            messages = [trade(i=number) for number in range(30)] + [quote(bp=number) for number in range(30)]
            messages += [bar(), trade(p="x"), trade(), quote(), {"T": "success"}]
            for _ in range(3):
                taken.take(frame_of(messages, is_msgpack), 1_767_623_400_000_000_000)
                chunks = taken.cut()
                taken.put(read_message(trade(i=99)), 0, "rest")
                for chunk in chunks:
                    taken.forget_trades(chunk)
                taken.take(b"\x92\x01" if is_msgpack else b"[1,", 0)
    assert _signatures() == before
