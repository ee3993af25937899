"""A plan for people: a text for a terminal or a log, markdown for a review."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from torghutctl.render.terminal import drawn, literal

_ANSWERS = {True: "yes", False: "no", None: "not known"}
_HEAD_WIDTH = len("environment  ")
_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def plan_table(
    report: Mapping[str, Any], *, width: int | None = None, is_coloured: bool = False, is_known: bool = False
) -> str:
    """Return a plan's report as text, wrapped to `width` but for diffs and commands.

    `is_known` leaves out what was shown before it was carried out: all but the result.
    """
    parts = [] if is_known else [*_plan(report)]
    if report["result"] is not None:
        parts += [Text("\nresult"), _grid(_result_rows(report["result"]))]
    return drawn(parts, width=width, is_coloured=is_coloured)


def _plan(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    for name in ("procedure", "environment", "base", "digest"):
        yield literal(f"{name.ljust(_HEAD_WIDTH)}{report[name]}")
    if report["preconditions"]:
        yield Text("\npreconditions")
        yield _preconditions(report)
    if not report["files"] and not report["actions"]:
        yield Text("\nnothing to change")
    else:
        yield from _changes(report)
        for title in ("verification", "rollback"):
            yield from _list(title, report[title])
    if report["act"]:
        yield Text("\nact")
        yield literal(f"  {report['act']}")


def _grid(rows: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(name, Text(value, overflow="fold"))
    return grid


def _preconditions(report: Mapping[str, Any]) -> Padding:
    """One row each: the answer, what a no means for acting, and what was seen."""
    grid = Table.grid(padding=(0, 2))
    for item in report["preconditions"]:
        answer = _ANSWERS[item["ok"]]
        is_closed = item["refuses"] and item["ok"] is not True
        word = Text("refuses" if item["refuses"] else "advice", style="bold red" if is_closed else "")
        grid.add_row(Text(answer, style="red" if is_closed else ""), word, Text(f"{item['name']}: {item['detail']}"))
    return Padding(grid, (0, 0, 0, 2))


def _changes(report: Mapping[str, Any]) -> Iterator[Any]:
    for file in report["files"]:
        yield Text("")
        for line in file["diff"].rstrip("\n").split("\n"):
            yield literal(line, "bold" if line.startswith(("+++", "---")) else _DIFF_STYLES.get(line[:1], ""))
    if report["actions"]:
        yield Text("\nactions")
        for action in report["actions"]:
            line = f"{action['target']}: {action['statement']}"
            is_pasted = action["target"].startswith("pod ")
            yield literal(f"  {line}") if is_pasted else Padding(Text(line), (0, 0, 0, 2))


def _list(title: str, steps: list[str]) -> Iterator[Any]:
    if steps:
        yield Text(f"\n{title}")
        for step in steps:
            yield literal(f"  {step}") if step.startswith("torghutctl ") else Padding(Text(step), (0, 0, 0, 2))


def plan_markdown(report: Mapping[str, Any]) -> str:
    """Return a plan's report as markdown."""
    lines = [
        f"# {report['procedure']}",
        "",
        f"Environment `{report['environment']}`, base `{report['base']}`, digest `{report['digest']}`.",
    ]
    is_empty = not report["files"] and not report["actions"]
    if is_empty:
        lines += ["", "Nothing to change."]
    if report["preconditions"]:
        lines += ["", "## Preconditions", ""]
        lines += [
            f"- {item['name']}: {_ANSWERS[item['ok']]}, {'refuses' if item['refuses'] else 'advice'} ({item['detail']})"
            for item in report["preconditions"]
        ]
    for file in report["files"]:
        lines += ["", f"## {file['path']}", "", "```diff", file["diff"].rstrip("\n"), "```"]
    if report["actions"]:
        lines += ["", "## Actions", "", *(f"- `{item['target']}`: `{item['statement']}`" for item in report["actions"])]
    if not is_empty:
        for title in ("verification", "rollback"):
            if report[title]:
                lines += ["", f"## {title.capitalize()}", "", *(f"- {step}" for step in report[title])]
    if report["act"]:
        lines += ["", "## Act", "", "```", report["act"], "```"]
    result = report["result"]
    if result is not None:
        lines += ["", "## Result", "", *(f"- {key.strip()}: {value}" for key, value in _result_rows(result))]
    return "\n".join(lines)


def _result_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not result["branch"]:
        return [("  carried out", "every action of the plan")]
    rows = [(f"  {key}", str(result[key])) for key in ("branch", "commit") if result[key]]
    pull = result["pullRequest"]
    if pull is not None:
        rows.append(
            ("  pull request", f"{pull['number']} {pull['url']} ({'adopted' if pull['adopted'] else 'opened'})")
        )
    return rows
