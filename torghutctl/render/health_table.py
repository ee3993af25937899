"""The health report for a terminal: verdict, cause and next step on the first lines, then components, then evidence.

Pure: a report in, text out. Without a width nothing is wrapped, so that a log keeps one line per thing; a command is
never wrapped, so that it can be pasted. Colour only repeats what a word says.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from torghut_core.rfc3339 import parse_ns
from torghutctl.health.model import span

_EVIDENCE_LINES = 6
_NARROWEST_MESSAGE = 30
_COLOURS = {
    "down": "1;31",
    "degraded": "1;33",
    "unknown": "1;35",
    "healthy": "32",
    "not present": "2",
    "not read": "1;35",
}
_HEADINGS = ("COMPONENT", "STATUS", "REASON", "FOR")


def table(report: Mapping[str, Any], *, width: int | None = None, is_coloured: bool = False) -> str:
    """Return the report as text, at most `width` columns wide but for its command."""
    lines = [*_head(report, width, is_coloured), "", *_components(report, width, is_coloured)]
    for name, finding in evident(report):
        lines += ["", *_wrapped(f"evidence for {name} {finding['reason']}:", width)]
        for line in finding["evidence"][:_EVIDENCE_LINES]:
            lines += _wrapped(line, width, first="  ", rest="      ")
        if len(finding["evidence"]) > _EVIDENCE_LINES:
            lines.append(f"  and {len(finding['evidence']) - _EVIDENCE_LINES} more lines (-o json)")
    return "\n".join(line.rstrip() for line in lines)


def _head(report: Mapping[str, Any], width: int | None, is_coloured: bool) -> Iterator[str]:
    verdict = str(report["classification"])
    yield (
        _painted(verdict.upper(), verdict, is_coloured)
        + f"   observed {report['observedAt']}, market session {market(report)}"
    )
    if _is_live_undeclared(report):
        banner = "TRADING WITH REAL MONEY IS ON AND NO ENVIRONMENT DECLARES IT: torghutctl pause-trading stops it"
        yield ""
        for line in _wrapped(banner, width):
            yield _painted(line, "down", is_coloured)
    cause, step = report["topCause"], report["nextProcedure"]
    if cause is None:
        return
    yield ""
    yield f"cause:    {cause['component']}: {cause['reason']}"
    yield from _wrapped(cause["message"], width, first="what:     ", rest="          ")
    age = _age(report, cause["since"])
    yield f"since:    {cause['since'] or 'not known'}{f' ({age})' if age else ''}"
    if step is not None:
        yield f"next:     {step['command'] or step['name'] + ' (runbook)'}"
        yield f"runbook:  {step['runbook']}"


def market(report: Mapping[str, Any]) -> str:
    """Return the market's session, with what sets the day apart: `closed (Thanksgiving Day)`."""
    day = report["marketDay"]
    return f"{report['marketSession']} ({day})" if day else str(report["marketSession"])


def _components(report: Mapping[str, Any], width: int | None, is_coloured: bool) -> Iterator[str]:
    rows: list[tuple[tuple[str, str, str, str], str]] = []
    for component in report["components"]:
        findings = component["findings"]
        if not findings:
            rows.append(((component["name"], component["status"], "-", "-"), ""))
        for index, finding in enumerate(findings):
            name, status = (component["name"], component["status"]) if index == 0 else ("", "")
            word = finding["reason"] if finding["severity"] != "info" else f"{finding['reason']} (info)"
            rows.append(((name, status, word, _age(report, finding["since"]) or "-"), finding["message"]))
    widths = [max(len(cells[i]) for cells in (_HEADINGS, *(row for row, _ in rows))) for i in range(len(_HEADINGS))]
    left = sum(widths) + 2 * len(widths)
    room = None if width is None else width - left
    is_below = room is not None and room < _NARROWEST_MESSAGE
    yield "  ".join(cell.ljust(size) for cell, size in zip(_HEADINGS, widths, strict=True)) + (
        "" if is_below else "  MESSAGE"
    )
    for cells, message in rows:
        padded = [cell.ljust(size) for cell, size in zip(cells, widths, strict=True)]
        padded[1] = _painted(padded[1], cells[1], is_coloured)
        words = [] if is_below else _wrapped(message, room)
        yield "  ".join(padded) + (f"  {words[0]}" if words else "")
        yield from (" " * left + line for line in words[1:])
        if is_below and message:
            yield from _wrapped(message, width, first="    ", rest="    ")


def evident(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the findings whose evidence is shown, those of the top cause's component first."""
    culprit = (report["topCause"] or {}).get("component")
    if culprit == "access":
        return []  # the cause says it of all of them at once
    components = sorted(report["components"], key=lambda item: item["name"] != culprit)
    return [
        (component["name"], finding)
        for component in components
        for finding in component["findings"]
        if finding["evidence"] and (finding["severity"] != "info" or _is_cause(report, component, finding))
    ]


def _is_cause(report: Mapping[str, Any], component: Mapping[str, Any], finding: Mapping[str, Any]) -> bool:
    """Tell whether a finding is the top cause: the first of its component with that reason."""
    cause = report["topCause"]
    if cause is None or component["name"] != cause["component"]:
        return False
    return finding is next((item for item in component["findings"] if item["reason"] == cause["reason"]), None)


def _is_live_undeclared(report: Mapping[str, Any]) -> bool:
    return any(
        finding["reason"] == "live_trading_enabled" and finding["severity"] == "down"
        for component in report["components"]
        for finding in component["findings"]
    )


def _age(report: Mapping[str, Any], since: str | None) -> str | None:
    if since is None:
        return None
    return span(max(0.0, (parse_ns(report["observedAt"]) - parse_ns(since)) / 1e9))


def _wrapped(text: str, width: int | None, *, first: str = "", rest: str = "") -> list[str]:
    if width is None:
        return [first + text] if text else []
    return textwrap.wrap(
        text,
        max(width, _NARROWEST_MESSAGE),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _painted(text: str, state: str, is_coloured: bool) -> str:
    colour = _COLOURS.get(state)
    return f"\x1b[{colour}m{text}\x1b[0m" if is_coloured and colour is not None else text
