"""The health report for a terminal: verdict, cause and next step on the first lines, then components, then evidence.

Pure: a report in, text out. Without a width nothing is wrapped, so that a log keeps one line per thing; a command is
never wrapped, so that it can be pasted. Colour only repeats what a word says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from torghut_core.rfc3339 import parse_ns
from torghutctl.health.model import span
from torghutctl.render.terminal import drawn, literal

_EVIDENCE_LINES = 6
_NARROWEST_MESSAGE = 30
_STYLES = {
    "down": "bold red",
    "degraded": "bold yellow",
    "unknown": "bold magenta",
    "healthy": "green",
    "not present": "dim",
    "not read": "bold magenta",
}
_HEADINGS = ("COMPONENT", "STATUS", "REASON", "FOR")
_LABEL_WIDTH = len("runbook:  ")


def table(report: Mapping[str, Any], *, width: int | None = None, is_coloured: bool = False) -> str:
    """Return the report as text, at most `width` columns wide but for its command."""
    parts: list[RenderableType] = [*_head(report), Text(""), *_components(report, width)]
    for name, finding in evident(report):
        parts += [Text(""), Text(f"evidence for {name} {finding['reason']}:")]
        for line in finding["evidence"][:_EVIDENCE_LINES]:
            parts.append(_hanging("  ", line))
        if len(finding["evidence"]) > _EVIDENCE_LINES:
            parts.append(Text(f"  and {len(finding['evidence']) - _EVIDENCE_LINES} more lines (-o json)"))
    return drawn(parts, width=width, is_coloured=is_coloured)


def market(report: Mapping[str, Any]) -> str:
    """Return the market's session, with what sets the day apart: `closed (Thanksgiving Day)`."""
    day = report["marketDay"]
    return f"{report['marketSession']} ({day})" if day else str(report["marketSession"])


def _head(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    verdict = str(report["classification"])
    yield Text.assemble(
        (verdict.upper(), _STYLES[verdict]), f"   observed {report['observedAt']}, market session {market(report)}"
    )
    if _is_live_undeclared(report):
        banner = "TRADING WITH REAL MONEY IS ON AND NO ENVIRONMENT DECLARES IT: torghutctl pause-trading stops it"
        yield from (Text(""), Text(banner, style=_STYLES["down"]))
    cause, step = report["topCause"], report["nextProcedure"]
    if cause is None:
        return
    yield Text("")
    yield literal(f"cause:    {cause['component']}: {cause['reason']}")
    yield _hanging("what:".ljust(_LABEL_WIDTH), cause["message"])
    age = _age(report, cause["since"])
    yield literal(f"since:    {cause['since'] or 'not known'}{f' ({age})' if age else ''}")
    if step is not None:
        book = f"torghutctl runbook {step['runbook'].removeprefix('runbooks/').removesuffix('.md')}"
        yield literal(f"next:     {step['command'] or book}")
        if step["command"] is not None:
            yield literal(f"runbook:  {book}")


def _hanging(label: str, text: str) -> Table:
    """Return a text after its label, its further lines below its beginning."""
    grid = Table.grid(padding=0)
    grid.add_column(width=len(label), no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(label, Text(text))
    return grid


def _components(report: Mapping[str, Any], width: int | None) -> Iterator[RenderableType]:
    rows = list(_rows(report))
    widths = [max(len(cells[i]) for cells in (_HEADINGS, *(row for row, _ in rows))) for i in range(len(_HEADINGS))]
    longest = max((len(word) for _, message in rows for word in message.split()), default=0)
    room = max(_NARROWEST_MESSAGE, longest)  # no name is broken
    is_below = width is not None and width - sum(widths) - 2 * len(widths) < room
    if not is_below:
        yield _table(widths, [*rows], is_last_shown=True)
        return
    # No room beside them: each message goes below its row, and the columns keep their widths.
    yield _table(widths, [], is_last_shown=False)
    for cells, message in rows:
        yield _table(widths, [(cells, "")], is_last_shown=False, has_head=False)
        if message:
            yield Padding(Text(message, overflow="fold"), (0, 0, 0, 4))


def _table(
    widths: list[int], rows: list[tuple[tuple[str, ...], str]], *, is_last_shown: bool, has_head: bool = True
) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), show_header=has_head, header_style="")
    for heading, size in zip(_HEADINGS, widths, strict=True):
        made.add_column(heading, width=size, no_wrap=True)
    if is_last_shown:
        made.add_column("MESSAGE", overflow="fold")
    for (name, status, reason, age), message in rows:
        cells: list[RenderableType] = [name, Text(status, style=_STYLES.get(status, "")), reason, age]
        made.add_row(*cells, *([Text(message)] if is_last_shown else []))
    return made


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str, str, str], str]]:
    """Yield the cells of every component and finding, with the finding's message."""
    for component in report["components"]:
        findings = component["findings"]
        if not findings:
            yield (component["name"], component["status"], "-", "-"), ""
        for index, finding in enumerate(findings):
            name, status = (component["name"], component["status"]) if index == 0 else ("", "")
            word = finding["reason"] if finding["severity"] != "info" else f"{finding['reason']} (info)"
            yield (name, status, word, _age(report, finding["since"]) or "-"), finding["message"]


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
