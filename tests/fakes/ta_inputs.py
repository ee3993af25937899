"""Trades, quotes and minute bars as envelopes, and the engine's rows as dictionaries by key."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torghut_core.rfc3339 import format_ns
from torghut_core.ta.decoding.columns import Decoded
from torghut_core.ta.decoding.decode import Decoder
from torghut_core.ta.engine.engine import Engine, EngineSettings, RowBlock, SourceName
from torghut_core.ta.outputs.rows import to_tables

START = 1_780_408_800
"""2026-06-02 14:00:00 UTC, 10:00 New York, a Tuesday."""
ALL_IDLE: frozenset[SourceName] = frozenset(["trades", "quotes", "bars"])
ONLY_TRADES: frozenset[SourceName] = frozenset(["quotes", "bars"])


class Record(NamedTuple):
    """One record of one source."""

    source: SourceName
    value: bytes


_NUMBERS = itertools.count(10**6)
"""Far from what a test numbers itself."""


def _envelope(channel: str, symbol: str, at: float, payload: dict[str, Any], ingest_after: float | None = 0.1) -> bytes:
    ns = round((START + at) * 1000) * 1_000_000
    said = {
        "ingest_ts": format_ns(ns + int((ingest_after or 0) * 1e9)),
        "event_ts": format_ns(ns),
        "feed": "iex",
        "channel": channel,
        "symbol": symbol,
        "seq": 1,
        "is_final": True,
        "source": "ws",
        "window": None,
        "payload": {"S": symbol, **payload, "t": format_ns(ns)},
        "version": 1,
    }
    if ingest_after is None:
        del said["ingest_ts"]
    return json.dumps(said, separators=(",", ":")).encode()


def trade(
    symbol: str,
    at: float,
    price: float,
    size: float = 100,
    *,
    number: int | None = None,
    codes: Sequence[str] | None = ("@",),
    tape: str | None = "C",
    ingest_after: float | None = 0.1,
) -> Record:
    """Return a trade `at` seconds after START, one of its own unless `number` says which; without ingest time for None."""
    its = next(_NUMBERS) if number is None else number
    payload: dict[str, Any] = {"i": its, "x": "V", "p": price, "s": size}
    payload |= {} if codes is None else {"c": list(codes)}
    payload |= {} if tape is None else {"z": tape}
    return Record("trades", _envelope("trades", symbol, at, payload, ingest_after))


def cancel(symbol: str, at: float, number: int) -> Record:
    """Return the cancel of trade `number`, made `at` seconds after START."""
    payload = {"T": "x", "i": number, "x": "V", "p": 1, "s": 1, "a": "C", "z": "C"}
    return Record("trades", _envelope("trades", symbol, at, payload))


def correction(symbol: str, at: float, number: int, price: float, size: float, *, new: int, codes: str = "@") -> Record:
    """Return the correction of trade `number` to trade `new`, made `at` seconds after START."""
    payload = {"T": "c", "x": "V", "oi": number, "op": 1, "os": 1, "oc": ["@"], "z": "C"}
    payload |= {"ci": new, "cp": price, "cs": size, "cc": list(codes)}
    return Record("trades", _envelope("trades", symbol, at, payload))


def quote(
    symbol: str,
    at: float,
    bid: float,
    ask: float,
    bid_size: float = 3,
    ask_size: float = 1,
    *,
    ingest_after: float | None = 0.1,
) -> Record:
    """Return a quote `at` seconds after START."""
    payload = {"bx": "V", "bp": bid, "bs": bid_size, "ax": "V", "ap": ask, "as": ask_size, "c": ["R"], "z": "C"}
    return Record("quotes", _envelope("quotes", symbol, at, payload, ingest_after))


def bar(symbol: str, minute: int, close: float, *, volume: float = 10, vwap: float | None = None) -> Record:
    """Return the minute bar that starts `minute` minutes after START."""
    payload = {"o": close, "h": close, "l": close, "c": close, "v": volume, "n": 1}
    if vwap is not None:
        payload["vw"] = vwap
    return Record("bars", _envelope("bars", symbol, 60 * minute, payload, ingest_after=61))


SYMBOLS = [f"SYM{i}" for i in range(12)]


def market(seconds: int, seed: int = 3, *, start: int = 0, late: int = 0) -> list[Record]:
    """Return trades, quotes and minute bars of 12 symbols, 80 records a second from `start` on.

    Trades are up to 1.2 s out of order; `late` more of each minute are 30 s late.
    """
    chance = random.Random(seed)
    records: list[Record] = []
    for second in range(start, start + seconds):
        for _ in range(60):
            records.append(
                trade(
                    chance.choice(SYMBOLS),
                    max(0, round(second + chance.random() - chance.random() * 1.2, 3)),
                    round(100 + chance.gauss(0, 1), 2),
                    chance.randint(1, 500),
                )
            )
        for _ in range(20):
            bid = round(100 + chance.gauss(0, 1), 2)
            records.append(quote(chance.choice(SYMBOLS), second + chance.random(), bid, bid + 0.02))
        if second % 60 == 0:
            records += [bar(symbol, second // 60, round(100 + chance.gauss(0, 1), 2)) for symbol in SYMBOLS]
        if second % 60 == 40:
            records += [trade(chance.choice(SYMBOLS), second - 30.0, 101.0, 7) for _ in range(late)]
    return records


class Run:
    """An engine with its decoder, and the last row per key of what it emitted."""

    def __init__(self, settings: EngineSettings | None = None, engine: Engine | None = None) -> None:
        self.engine = engine or Engine(settings or EngineSettings())
        self.decoder = Decoder()
        self.rows: dict[tuple[str, str, str, int], dict[str, Any]] = {}
        """By table, window size, symbol, and end in seconds after START."""
        self.written: list[tuple[str, str, str, int]] = []
        """Keys in the order they were written."""
        self._ingest_ms = 0

    def feed(self, records: Iterable[Record]) -> None:
        """Take records, in runs of one source."""
        waiting: list[bytes] = []
        source: SourceName | None = None
        for record in records:
            if record.source != source and source is not None:
                self._add(source, waiting)
                waiting = []
            source = record.source
            waiting.append(record.value)
        if source is not None:
            self._add(source, waiting)

    def _add(self, source: SourceName, values: Sequence[bytes]) -> None:
        read = {"trades": self.decoder.trades, "quotes": self.decoder.quotes, "bars": self.decoder.bars}[source]
        decoded: Decoded = read(values)
        self.engine.add(decoded)

    def emit(self, idle: frozenset[SourceName] = ONLY_TRADES) -> list[tuple[str, str, str, int]]:
        """Emit, and return the keys written now."""
        return self._keep(self.engine.emit(idle))

    def finish(self) -> list[tuple[str, str, str, int]]:
        """End the input, and return the keys written now."""
        return self._keep(self.engine.finish())

    def _keep(self, blocks: list[RowBlock]) -> list[tuple[str, str, str, int]]:
        keys = []
        for block in blocks:
            self._ingest_ms += 1
            for table in to_tables(block, self._ingest_ms):
                columns = table.clickhouse_columns()
                for values in zip(*columns.values(), strict=True):
                    row = dict(zip(columns, values, strict=True))
                    name = "bar" if table.table.endswith("microbars") else "signal"
                    key = (name, row["window_size"], row["symbol"], row["event_ts"] // 1000 - START)
                    del row["ingest_ts"]
                    self.rows[key] = row
                    keys.append(key)
        self.written += keys
        return keys

    def bar(self, symbol: str, end: int, size: str = "PT1S") -> dict[str, Any]:
        """Return the bar that ends `end` seconds after START."""
        return self.rows["bar", size, symbol, end]

    def signal(self, symbol: str, end: int, size: str = "PT1S") -> dict[str, Any]:
        """Return the signal of the bar that ends `end` seconds after START."""
        return self.rows["signal", size, symbol, end]


def run_of(records: Iterable[Record], settings: EngineSettings | None = None) -> Run:
    """Return a run over all records at once, ended as a file ends."""
    run = Run(settings)
    run.feed(records)
    run.emit(frozenset())
    run.finish()
    return run
