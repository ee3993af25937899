"""Minute bars made of a recording's own trades."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from add_minute_bars import with_bars


def _trade(symbol: str, at: str, price: float, size: int) -> str:
    return json.dumps({"T": "t", "S": symbol, "t": f"2026-01-05T14:{at}Z", "p": price, "s": size}) + "\n"


def test_with_bars_when_a_minute_ends_then_its_bars_come_before_the_next_trade() -> None:
    """By symbol; the last minute's at the end; other messages stay where they were."""
    quote = json.dumps({"T": "q", "S": "A", "t": "2026-01-05T14:30:02Z"}) + "\n"
    lines = [
        _trade("B", "30:00", 5, 1),
        _trade("A", "30:01", 10, 1),
        quote,
        _trade("A", "30:59.9", 12, 3),
        _trade("A", "31:00", 9, 2),
    ]
    found = [json.loads(line) for line in with_bars(io.StringIO("".join(lines)))]
    assert [(each["T"], each["S"]) for each in found] == [
        ("t", "B"), ("t", "A"), ("q", "A"), ("t", "A"), ("b", "A"), ("b", "B"), ("t", "A"), ("b", "A"),
    ]  # fmt: skip
    assert found[4] == {
        "T": "b", "S": "A", "o": 10, "h": 12, "l": 10, "c": 12, "v": 4, "n": 2, "vw": 11.5, "t": "2026-01-05T14:30:00Z",
    }  # fmt: skip
