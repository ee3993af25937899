"""The HTTP endpoints of `up` on one loopback server, and the folder that names them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes import torghut_cluster as base


class LocalServices:
    """What each endpoint answers; `answers` maps a path (with a symbol for ta/latest) to status and body."""

    def __init__(self, now: str = base.NOW) -> None:
        self.answers: dict[str, tuple[int, Any]] = {
            "/forwarder/readyz": base.readyz(),
            "/ta/readyz": (200, {"status": "ready", "ready": True, "reason": None}),
            "/trading/trading/status": (200, base.trading_status()),
            "/trading/trading/health": (200, {"status": "ok"}),
            "/guardrails/metrics": (200, base.gauges(scraped=now)),
            "/visuals/api/torghut/symbols": (200, {"symbols": ["AAPL", "MSFT"]}),
        }
        for symbol in ("AAPL", "MSFT"):
            self.set_latest(symbol, now)

    def set_latest(self, symbol: str, stamp: str | None) -> None:
        """Set when a symbol's newest rows happened."""
        self.answers[f"/visuals/api/torghut/ta/latest {symbol}"] = (200, base.latest(symbol, bars=stamp, signals=stamp))


@contextmanager
def serve(services: LocalServices, folder: Path, **changes: Any) -> Iterator[Path]:
    """Serve the endpoints; yields the folder with endpoints.json."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            symbol = parse_qs(split.query).get("symbol", [""])[0]
            status, body = services.answers.get(f"{split.path} {symbol}".strip(), (404, {"error": "no such path"}))
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    root = f"http://127.0.0.1:{server.server_address[1]}"
    endpoints = {
        "schemaVersion": "torghut.local/v1",
        "pid": os.getpid(),
        "startedAt": base.LONG_AGO,
        "marketCalendar": "XNYS",
        "clock": "system",
        "feed": "iex",
        "services": {
            "forwarder": {"health": f"{root}/forwarder", "metrics": f"{root}/forwarder"},
            "ta": {"health": f"{root}/ta", "metrics": f"{root}/ta"},
            "trading": {"api": f"{root}/trading"},
            "visuals": {"api": f"{root}/visuals"},
            "guardrails": {"metrics": f"{root}/guardrails"},
        },
        **changes,
    }
    folder.mkdir(exist_ok=True)
    (folder / "endpoints.json").write_text(json.dumps(endpoints))
    try:
        yield folder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
