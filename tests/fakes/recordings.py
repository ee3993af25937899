"""Where a recorded day of Alpaca messages is, if this machine has one."""

from __future__ import annotations

import os
from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"


def recorded_day() -> str | None:
    """Return the file RECORDED_DAY names, else the first recording in `../shared/data`, else None."""
    found = os.environ.get("RECORDED_DAY")
    if found:
        return found
    return next((str(path) for path in sorted(_BESIDE.glob("*.alpaca.ndjson.gz"))), None)
