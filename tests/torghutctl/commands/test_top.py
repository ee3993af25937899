"""`top`: one frame off a terminal, frame after frame on one."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.fakes import torghut_cluster
from tests.fakes.incidents import stop_forwarder
from tests.fakes.kubernetes_api import serve
from torghutctl.cli import app
from torghutctl.commands.top import redraw
from torghutctl.errors import ConfigurationError
from torghutctl.render.top_view import frame
from torghutctl.snapshot import local, trading_desk


@pytest.mark.parametrize(("stopped", "code", "word"), [(False, 0, "HEALTHY"), (True, 4, "DOWN")])
def test_top_when_off_a_terminal_then_one_frame_with_the_reports_code(
    stopped: bool, code: int, word: str, tmp_path: Path
) -> None:
    """The verdict, every component and the switches, in plain text; the cause and the next step when there is one."""
    cluster = torghut_cluster.healthy()
    if stopped:
        stop_forwarder(cluster, "alpaca_406_second_connection")
    with serve(cluster, tmp_path) as kubeconfig:
        done = CliRunner().invoke(app, ["top", "--kubeconfig", str(kubeconfig), "--at", torghut_cluster.NOW])
        asked = CliRunner().invoke(
            app, ["top", "--kubeconfig", str(kubeconfig), "--at", torghut_cluster.NOW, "-o", "json"]
        )
    assert (done.exit_code, done.stdout.split()[0], "\x1b" in done.stdout) == (code, word, False)
    assert all(name in done.stdout for name in ("forwarder", "freshness", "TRADING_ENABLED"))
    assert ("cause  forwarder: alpaca_406_second_connection" in done.stdout) == stopped
    report = json.loads(asked.stdout)
    assert (report["schemaVersion"], set(report)) == (
        "torghut.top/v1",
        {"schemaVersion", "health", "trading", "symbols", "desk"},
    )
    assert [row["symbol"] for row in report["symbols"]] == sorted(row["symbol"] for row in report["symbols"]) != []
    assert report["symbols"][0]["symbol"] in done.stdout


def test_redraw_when_a_reading_fails_then_the_last_frame_stays_with_the_reason() -> None:
    """Ctrl-C ends it with the last report."""
    drawn: list[tuple[Any, str]] = []
    readings = iter([ConfigurationError("no cluster"), {"n": 2}])
    pauses = iter([None, None, KeyboardInterrupt()])

    def again() -> dict[str, Any]:
        item = next(readings)
        if isinstance(item, Exception):
            raise item
        return item

    def pause() -> None:
        item = next(pauses)
        if item is not None:
            raise item

    last = redraw({"n": 1}, again, pause=pause, draw=lambda report, trouble: drawn.append((report["n"], trouble)))
    assert (last, drawn) == ({"n": 2}, [(1, ""), (1, "not read this time: no cluster"), (2, "")])


def test_frame_when_the_terminal_is_small_then_nothing_is_wider_or_longer() -> None:
    """Lines are cut, not wrapped, so that a redraw stays in its place."""
    component = {"name": "ta", "status": "down", "findings": [{"reason": "ta_failed" * 9, "severity": "down"}]}
    health = {
        "classification": "down",
        "observedAt": "2026-03-04T15:00:00Z",
        "marketSession": "regular",
        "marketDay": None,
        "topCause": {"component": "ta", "reason": "ta_failed", "message": "m" * 99},
        "nextProcedure": None,
        "components": [component] * 9,
    }
    text = frame(
        {"health": health, "trading": {"trades": "no", "agreement": "same", "settings": []}}, width=40, height=6
    )
    assert (max(map(len, text.split("\n"))), len(text.split("\n"))) == (40, 6)


def test_frame_when_the_system_is_here_then_symbols_positions_and_decisions_are_shown() -> None:
    """What a person on ssh looks for, each with what is not known said."""
    health = {
        "classification": "healthy",
        "observedAt": "2026-03-04T15:00:00Z",
        "marketSession": "regular",
        "marketDay": None,
        "topCause": None,
        "nextProcedure": None,
        "components": [],
    }
    desk = {
        "positions": [{"symbol": "AAPL", "qty": "10", "own_qty": "7", "market_value": "1900"}],
        "decisions": None,
        "problems": ["/trading/decisions: HTTP 503"],
    }
    symbols = [{"symbol": "AAPL", "barAgeSeconds": 2.0, "signalAgeSeconds": None}]
    trading = {"trades": "yes", "agreement": "same", "settings": []}
    text = frame({"health": health, "trading": trading, "symbols": symbols, "desk": desk})
    rows = [" ".join(line.split()) for line in text.split("\n")]
    assert "AAPL 2 s ago none" in rows
    assert "AAPL 10 7 1900" in rows
    assert "decisions: not read: /trading/decisions: HTTP 503" in rows


def test_desk_when_trading_answers_then_its_rows_and_what_fails_costs_itself_alone(tmp_path: Path) -> None:
    """Positions by their exact text, decisions with why; a list that is refused leaves the other."""
    answers = {
        "/trading/positions": (
            200,
            [{"symbol": "AAPL", "qty_text": "10", "own_qty_text": "7", "market_value_text": "1"}],
        ),
        "/trading/decisions": (503, {"detail": "unavailable"}),
    }

    class Trading(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            status, body = answers[self.path.partition("?")[0]]
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with HTTPServer(("127.0.0.1", 0), Trading) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        services = {"trading": {"api": f"http://127.0.0.1:{server.server_address[1]}"}}
        (tmp_path / "endpoints.json").write_text(
            json.dumps({"schemaVersion": "torghut.local/v1", "services": services})
        )
        desk = trading_desk.read(local.open_folder(tmp_path), deadline_s=5)
        answers["/trading/decisions"] = (
            200,
            [
                {
                    "symbol": "X",
                    "status": "rejected",
                    "risk_reasons": "cooldown",
                    "decision": {"action": "buy"},
                    "created_at": "t",
                }
            ],
        )
        again = trading_desk.read(local.open_folder(tmp_path), deadline_s=5)
        server.shutdown()
    assert desk["positions"] == [{"symbol": "AAPL", "qty": "10", "own_qty": "7", "market_value": "1"}]
    assert (desk["decisions"], desk["problems"]) == (None, ["/trading/decisions: HTTP 503"])
    assert again["decisions"] == [{"at": "t", "symbol": "X", "side": "buy", "status": "rejected", "why": "cooldown"}]
