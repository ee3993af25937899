"""One frame of `top`: verdict, cause, next step, components, symbols, positions, decisions and switches. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torghutctl.health.model import span
from torghutctl.render.health_table import market
from torghutctl.render.output import Columns, Screen, as_text, columns

_MOST = 8
"""Rows of positions and of decisions: the newest ones; a screen has no more room."""


def frame(report: Mapping[str, Any], *, width: int | None = None, height: int | None = None) -> str:
    """Return the frame as plain text, cut to a terminal of this size, so that the next one stands in its place."""
    parts: list[str | Columns] = [*_strip(report["health"], report["trading"]), "", _components(report["health"])]
    parts += [part for section in _sections(report) for part in ("", section)]
    return "\n".join(line[:width] for line in as_text(parts, Screen()).split("\n")[:height])


def _strip(health: Mapping[str, Any], trading: Mapping[str, Any]) -> Iterator[str]:
    cause, step = health["topCause"], health["nextProcedure"]
    yield f"{str(health['classification']).upper()}  {health['observedAt']}  market {market(health)}"
    if cause is not None:
        yield f"cause  {cause['component']}: {cause['reason']}: {cause['message']}"
    if step is not None:
        yield f"next   {step['command'] or 'torghutctl runbook ' + step['name']}"
    yield f"trades {trading['trades']}; git, cluster and service: {trading['agreement']}"


def _components(health: Mapping[str, Any]) -> Columns:
    rows = [("COMPONENT", "STATUS", "REASONS")]
    for component in health["components"]:
        reasons = ", ".join(
            finding["reason"] + (" (info)" if finding["severity"] == "info" else "")
            for finding in component["findings"]
        )
        rows.append((component["name"], component["status"], reasons or "-"))
    return columns(rows)


def _sections(report: Mapping[str, Any]) -> Iterator[str | Columns]:
    symbols, desk = report.get("symbols") or [], report.get("desk")
    if symbols:
        rows = [(row["symbol"], _age(row["barAgeSeconds"]), _age(row["signalAgeSeconds"])) for row in symbols]
        yield columns([("SYMBOL", "BAR", "SIGNAL"), *rows])
    if desk is not None:
        yield _of_desk(
            "positions", desk, ("SYMBOL", "HELD", "OURS", "VALUE"), ("symbol", "qty", "own_qty", "market_value")
        )
        yield _of_desk(
            "decisions", desk, ("AT", "SYMBOL", "SIDE", "STATUS", "WHY"), ("at", "symbol", "side", "status", "why")
        )
    settings = [("SETTING", "EFFECTIVE", "GIT", "")]
    settings += [
        (row["name"], _text(row["effective"]), _text(row["git"]), "" if row["agrees"] else "DIFFERENT")
        for row in report["trading"]["settings"]
    ]
    yield columns(settings)


def _of_desk(name: str, desk: Mapping[str, Any], head: tuple[str, ...], keys: tuple[str, ...]) -> str | Columns:
    rows = desk[name]
    if rows is None:
        return f"{name}: not read: {'; '.join(desk['problems'])}"
    return columns([head, *(tuple(row[key] for key in keys) for row in rows[:_MOST])]) if rows else f"{name}: none"


def _age(seconds: float | None) -> str:
    return "none" if seconds is None else f"{span(seconds)} ago"


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
