"""The two ClickHouse tables the trading runtime reads, in memory, for tests that are not about SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghut_core.engines.clickhouse import ClickHouseError, Trouble


class SignalTables:
    """Answers the runtime's own statements from lists of rows; `trouble` makes every answer a failure."""

    def __init__(self) -> None:
        self.signals: list[dict[str, Any]] = []
        self.prices: dict[str, float] = {}
        self.trouble: Trouble | None = None

    def add(
        self,
        symbol: str,
        event_ms: int,
        *,
        macd: float,
        rsi14: float,
        ingest_ms: int | None = None,
        bid: float | None = None,
        ask: float | None = None,
    ) -> None:
        """Write one warm 1-second signal with a signal line of zero, quoted 99.99 to 100."""
        self.signals.append(
            {
                "symbol": symbol,
                "window_size": "PT1S",
                "event_ms": event_ms,
                "ingest_ms": event_ms if ingest_ms is None else ingest_ms,
                "seq": event_ms // 1000,
                "close": 100.0,
                "macd": macd,
                "macd_signal": 0.0,
                "rsi14": rsi14,
                "vol_realized_w60s": None,
                "warm": 1,
                "imbalance_bid_px": 99.99 if bid is None else bid,
                "imbalance_ask_px": 100.0 if ask is None else ask,
            }
        )

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        if self.trouble is not None:
            raise ClickHouseError(self.trouble, "a query")
        given = dict(parameters or {})
        if "c, vwap" in statement:
            return [
                {"symbol": symbol, "c": price, "vwap": None}
                for symbol, price in self.prices.items()
                if symbol in given["symbols"]
            ]
        if "symbols" not in given:
            return [{"one": 1}]
        rows = [row for row in self.signals if row["symbol"] in given["symbols"] and row["event_ms"] >= given["since"]]
        if "bars" in given:
            return sorted(
                (row for row in rows if row["ingest_ms"] <= given["upper"] and row["event_ms"] <= given["until"]),
                key=lambda row: -int(row["event_ms"]),
            )
        upper = given.get("upper")
        found = [
            row for row in rows if row["ingest_ms"] >= given["lower"] and (upper is None or row["ingest_ms"] < upper)
        ]
        if "bucket" in given:
            size = int(given["bucket"])
            buckets: dict[int, set[tuple[object, ...]]] = {}
            for row in found:
                version = (row["symbol"], row["window_size"], row["event_ms"], row["ingest_ms"])
                buckets.setdefault(row["ingest_ms"] // size, set()).add(version)
            return [{"bucket": bucket, "versions": len(versions)} for bucket, versions in buckets.items()]
        found.sort(key=lambda row: (row["ingest_ms"], row["event_ms"], row["seq"], row["symbol"]))
        return found[: given["limit"]]
