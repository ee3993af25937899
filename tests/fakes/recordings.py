"""Where a recorded day of Alpaca messages is, if this machine has one."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

from tests.fakes.ta_inputs import Record

_SOURCES = {"t": ("trades", "trades"), "q": ("quotes", "quotes"), "b": ("bars", "bars"), "u": ("bars", "updatedBars")}
_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"


def recorded_day() -> str | None:
    """Return the file RECORDED_DAY names, else the first recording in `../shared/data`, else None."""
    found = os.environ.get("RECORDED_DAY")
    if found:
        return found
    return next((str(path) for path in sorted(_BESIDE.glob("*.alpaca.ndjson.gz"))), None)


def records_of(path: Path) -> list[Record]:
    """Return a recording's messages as envelopes that came when they happened."""
    records = []
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for line in lines:
            message = json.loads(line)
            source, channel = _SOURCES[message.pop("T")]
            said = {
                "ingest_ts": message["t"], "event_ts": message["t"], "feed": "sip", "channel": channel,
                "symbol": message["S"], "seq": 1, "is_final": True, "source": "ws", "window": None,
                "payload": message, "version": 1,
            }  # fmt: skip
            records.append(Record(source, json.dumps(said, separators=(",", ":")).encode()))  # type: ignore[arg-type]
    return records
