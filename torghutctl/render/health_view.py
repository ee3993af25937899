"""The health report as markdown for an AgentRun's output, and what changed between two. Pure: a report in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghutctl.render.health_table import evident, market


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report as markdown."""
    cause, step = report["topCause"], report["nextProcedure"]
    lines = [f"## Torghut health: {report['classification']}", ""]
    lines.append(f"Observed {report['observedAt']}, market session {market(report)}.")
    if cause is not None:
        lines += ["", f"**Top cause:** {cause['component']} `{cause['reason']}`: {_cell(cause['message'])}"]
        lines.append(f"**Since:** {cause['since'] or 'not known'}")
    if step is not None:
        lines += ["", f"**Next:** {step['name']} ([{step['runbook']}]({step['runbook']}))"]
        if step["command"] is not None:
            lines += ["", "```sh", step["command"], "```"]
    lines += ["", "| Component | Status | Reason | Severity | Since | Message |", "|---|---|---|---|---|---|"]
    for component in report["components"]:
        if not component["findings"]:
            lines.append(f"| {component['name']} | {component['status']} | | | | |")
        for finding in component["findings"]:
            cells = (
                component["name"],
                component["status"],
                f"`{finding['reason']}`",
                finding["severity"],
                finding["since"] or "",
                _cell(finding["message"]),
            )
            lines.append(f"| {' | '.join(cells)} |")
    for name, finding in evident(report):
        lines += ["", f"Evidence for {name} `{finding['reason']}`:", ""]
        lines += [f"- {line}" for line in finding["evidence"]]
    return "\n".join(lines)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between two reports, one line each; nothing for reports that say the same."""
    lines = []
    when = after["observedAt"]
    if before["classification"] != after["classification"]:
        lines.append(f"{when} {before['classification']} -> {after['classification']}")
    old, new = _cause(before), _cause(after)
    if old != new:
        lines.append(f"{when} top cause: {old} -> {new}")
        step = after["nextProcedure"]
        if step is not None:
            lines.append(f"{when} next: {step['command'] or step['name'] + ' (runbook)'} ({step['runbook']})")
    was = {item["name"]: item for item in before["components"]}
    for component in after["components"]:
        previous = was[component["name"]]
        if previous["status"] != component["status"]:
            lines.append(f"{when} {component['name']}: {previous['status']} -> {component['status']}")
        gone, come = (_reasons(previous) - _reasons(component)), (_reasons(component) - _reasons(previous))
        lines += [f"{when} {component['name']}: {reason} ({severity}) began" for reason, severity in sorted(come)]
        lines += [f"{when} {component['name']}: {reason} ({severity}) ended" for reason, severity in sorted(gone)]
    return lines


def _reasons(component: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(finding["reason"], finding["severity"]) for finding in component["findings"]}


def _cause(report: Mapping[str, Any]) -> str:
    cause = report["topCause"]
    return "none" if cause is None else f"{cause['component']} {cause['reason']}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
