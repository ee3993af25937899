"""Copy a recording of Alpaca messages with minute bars made of its own trades, for strategies that judge minutes.

    python scripts/add_minute_bars.py day.ndjson.gz day-with-minutes.ndjson.gz

A recording of the `*` bars of Alpaca's stream needs none of this. The bars are plain sums: every trade moves its price,
whatever its conditions; `t` is the minute's beginning, as Alpaca writes it, and a bar comes before the first trade of
the next minute.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

_MINUTE = len("2026-01-05T14:30")


def with_bars(lines: TextIO) -> Iterator[str]:
    """Yield the lines, and after each minute a bar for each symbol that traded in it, by symbol."""
    minute, open_bars = "", dict[str, dict[str, Any]]()
    for line in lines:
        message = json.loads(line)
        if message.get("T") == "t":
            if message["t"][:_MINUTE] > minute:
                yield from _closed(open_bars)
                minute, open_bars = message["t"][:_MINUTE], {}
            _add(open_bars, message, minute)
        yield line if line.endswith("\n") else line + "\n"
    yield from _closed(open_bars)


def _add(open_bars: dict[str, dict[str, Any]], trade: dict[str, Any], minute: str) -> None:
    price, size = trade["p"], trade["s"]
    bar = open_bars.setdefault(
        trade["S"],
        {"T": "b", "S": trade["S"], "o": price, "h": price, "l": price, "c": price, "v": 0, "n": 0, "vw": 0.0, "t": f"{minute}:00Z"},
    )  # fmt: skip
    bar |= {"h": max(bar["h"], price), "l": min(bar["l"], price), "c": price}
    bar |= {"vw": bar["vw"] + price * size, "v": bar["v"] + size, "n": bar["n"] + 1}


def _closed(open_bars: dict[str, dict[str, Any]]) -> Iterator[str]:
    for _, bar in sorted(open_bars.items()):
        yield json.dumps({**bar, "vw": round(bar["vw"] / bar["v"], 6)}, separators=(",", ":")) + "\n"


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    with gzip.open(source, "rt") as lines, gzip.open(target, "wt", compresslevel=3) as written:
        written.writelines(with_bars(lines))


if __name__ == "__main__":
    main()
