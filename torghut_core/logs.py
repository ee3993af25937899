"""Structured JSON logs: one object a line on standard error.

Log with `logger.info("event_name", extra={"fields": {...}})`, or `event(logger, "event_name", key=value)`. Values that
look like secrets never get here: callers log names and counts, and `Formatter` drops keys with a secret's name.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any, TextIO

from torghut_core.rfc3339 import format_ns

_SECRET_NAME = re.compile(r"(secret|password|passwd|token|api_?key|authorization|credential|dsn|private)", re.I)


class Formatter(logging.Formatter):
    """Formats a record as one JSON object with `ts`, `level`, `logger`, `event` and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "ts": format_ns(int(record.created * 1e6) * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        for key, value in getattr(record, "fields", {}).items():
            entry[key] = "(hidden)" if _SECRET_NAME.search(key) else value
        if record.exc_info and record.exc_info[0] is not None:
            entry["error_type"] = record.exc_info[0].__name__
        return json.dumps(entry, default=str, ensure_ascii=False)


def event(logger: logging.Logger, name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log one named event with its fields."""
    logger.log(level, name, extra={"fields": fields})


def configure(level: str = "INFO", stream: TextIO | None = None, *, handler: logging.Handler | None = None) -> None:
    """Send every logger's records to `stream` (standard error), or to a handler of another kind, as JSON lines."""
    handler = handler or logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("aiokafka", "httpx", "httpcore", "websockets", "uvicorn.access", "clickhouse_connect", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
