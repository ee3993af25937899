"""A plan for people: plain text for a terminal, markdown for a review."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghutctl.render.output import columns

_WORDS = {True: "yes", False: "NO", None: "not known"}


def plan_table(report: Mapping[str, Any]) -> str:
    """Return a plan's report as plain text."""
    lines = [
        columns(
            [
                ("procedure", str(report["procedure"])),
                ("environment", str(report["environment"])),
                ("base", str(report["base"])),
                ("digest", str(report["digest"])),
            ]
        )
    ]
    if report["preconditions"]:
        rows = [(f"  {_WORDS[item['ok']]}", f"{item['name']}: {item['detail']}") for item in report["preconditions"]]
        lines += ["", "preconditions", columns(rows)]
    if not report["files"] and not report["actions"]:
        lines += ["", "nothing to change"]
    for file in report["files"]:
        lines += ["", file["diff"].rstrip("\n")]
    if report["actions"]:
        lines += ["", "actions", *(f"  {item['target']}: {item['statement']}" for item in report["actions"])]
    for title in ("verification", "rollback"):
        if report[title]:
            lines += ["", title, *(f"  {step}" for step in report[title])]
    result = report["result"]
    if result is not None:
        lines += ["", "result", columns(list(_result_rows(result)))]
    return "\n".join(lines)


def plan_markdown(report: Mapping[str, Any]) -> str:
    """Return a plan's report as markdown."""
    lines = [
        f"# {report['procedure']}",
        "",
        f"Environment `{report['environment']}`, base `{report['base']}`, digest `{report['digest']}`.",
    ]
    if not report["files"] and not report["actions"]:
        lines += ["", "Nothing to change."]
    if report["preconditions"]:
        lines += ["", "## Preconditions", ""]
        lines += [f"- {item['name']}: {_WORDS[item['ok']]} ({item['detail']})" for item in report["preconditions"]]
    for file in report["files"]:
        lines += ["", f"## {file['path']}", "", "```diff", file["diff"].rstrip("\n"), "```"]
    if report["actions"]:
        lines += ["", "## Actions", "", *(f"- `{item['target']}`: `{item['statement']}`" for item in report["actions"])]
    for title in ("verification", "rollback"):
        if report[title]:
            lines += ["", f"## {title.capitalize()}", "", *(f"- {step}" for step in report[title])]
    result = report["result"]
    if result is not None:
        lines += ["", "## Result", "", *(f"- {key}: {value}" for key, value in _result_rows(result))]
    return "\n".join(lines)


def _result_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(f"  {key}", str(result[key])) for key in ("branch", "commit") if result[key]]
    pull = result["pullRequest"]
    if pull is not None:
        rows.append(
            ("  pull request", f"{pull['number']} {pull['url']} ({'adopted' if pull['adopted'] else 'opened'})")
        )
    return rows
