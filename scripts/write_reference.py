"""Write `docs/reference/*.md` from the code: commands, exit codes, reasons, topics, tables, variables. A test compares.

python scripts/write_reference.py
"""

from __future__ import annotations

import json
import re
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import typer
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from torghut_core.ingest import metrics as ingest_metrics
from torghut_core.settings import variable_names
from torghut_core.ta.status import Metrics as TaMetrics
from torghut_core.topics import ALL, DAY_MS
from torghut_core.trading import metrics as trading_metrics
from torghut_core.visuals.following import VisualsMetrics
from torghut_core.visuals.guardrails import Gauges
from torghut_core.visuals.stream import EventLog
from torghutctl.cli import COMMANDS, app
from torghutctl.commands.explain_config import RUNTIMES, settings_class
from torghutctl.errors import ExitCode
from torghutctl.health.reasons import REASONS
from torghutctl.render.schemas import VERSIONS, schema_of

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
SCHEMAS = ROOT / "docs" / "schemas"
_HELP_WIDTH = 100
_CODES = {
    ExitCode.OK: "healthy; done; nothing to change; plan shown",
    ExitCode.BUG: "a bug: an error that nobody expected, its trace on standard error",
    ExitCode.USAGE: "usage or configuration: the sentence names option or variable, value and rule",
    ExitCode.DEGRADED: "degraded",
    ExitCode.DOWN: "down",
    ExitCode.UNKNOWN: "unknown: too little could be observed",
    ExitCode.REFUSED: "refused by a gate: nothing was changed, or what could not be is named",
    ExitCode.STALE: "the plan is stale, or another change is in the way",
    ExitCode.UNVERIFIED: "a wait timed out, or a verification failed",
    ExitCode.UPSTREAM: "something upstream failed: cluster, GitHub, database, broker, permission, a full disk",
}
_WRITTEN = "<!-- Written by scripts/write_reference.py from the code. -->\n\n"


def pages() -> dict[str, str]:
    """Return every page by its name."""
    return {
        "commands.md": _commands(),
        "environment.md": _environment(),
        "exit-codes.md": _exit_codes(),
        "metrics.md": _metrics(),
        "reasons.md": _reasons(),
        "tables.md": _tables(),
        "topics.md": _topics(),
    }


def _commands() -> str:
    group: Any = typer.main.get_command(app)
    parts = [f"# Commands\n\n{_WRITTEN}What `--help` says of each.\n"]
    for name in COMMANDS:
        parts += _helps(group.commands[name].load(), f"torghutctl {name}")
    return "\n".join(parts)


def _helps(command: Any, path: str) -> list[str]:
    context = command.context_class(command, info_name=path, terminal_width=_HELP_WIDTH, max_content_width=_HELP_WIDTH)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines()).strip()
    level = "#" * len(path.split())
    own = [f"{level} {path}\n\n```text\n{text}\n```\n"]
    return own + [
        page for name, child in getattr(command, "commands", {}).items() for page in _helps(child, f"{path} {name}")
    ]


def _exit_codes() -> str:
    rows = [f"| {code.value} | {_CODES[code]} |" for code in ExitCode]
    return (
        f"# Exit codes\n\n{_WRITTEN}The effect decides the code: a reader that goes away, a closed stream, a character that "
        "cannot be shown change nothing.\n\n| Code | Meaning |\n|---|---|\n" + "\n".join(rows) + "\n"
    )


def _reasons() -> str:
    parts = [
        f"# Reasons of the health report\n\n{_WRITTEN}`torghutctl health-report --why REASON` says the same in a terminal.\n"
    ]
    for row in REASONS.values():
        step = f"`torghutctl {row.procedure}`" if row.procedure else f"runbook `{row.next_step}`"
        parts.append(
            f"## {row.name}\n\n{_cell(row.means[:1].upper() + row.means[1:])}.\n\n| | |\n|---|---|\n"
            f"| component | {row.component} |\n| level | {_cell(row.levels)} |\n| shown by | {_cell(row.shown_by)} |\n"
            f"| changed by | {_cell(row.changed_by)} |\n| next | {step} |\n"
        )
    return "\n".join(parts)


def _environment() -> str:
    parts = [
        f"# Environment variables\n\n{_WRITTEN}Each runtime reads its environment once, at start. `torghutctl explain-config "
        "RUNTIME` shows the values in force with their source. A variable of a runtime's families that stands in none of "
        "these tables has no effect, and a start says so.\n"
    ]
    for runtime in RUNTIMES:
        model = settings_class(runtime)
        families = ", ".join(f"`{family}*`" for family in model.families)
        parts.append(f"## run {runtime}\n\nFamilies: {families}\n\n| Variable | Default | Meaning |\n|---|---|---|")
        rows = []
        for name, field in model.model_fields.items():
            first, *others = variable_names(field, name)
            also = f" (also {', '.join(f'`{other}`' for other in others)})" if others else ""
            rows.append(f"| `{first}`{also} | {_default(field)} | {_cell(field.description or '')} |")
        parts[-1] += "\n" + "\n".join(sorted(rows)) + "\n"
    return "\n".join(parts)


class _Anything:
    """Whatever is asked of it: a forwarder whose figures nobody reads."""

    def __getattr__(self, name: str) -> _Anything:
        return self

    def items(self) -> tuple[()]:
        return ()


def _metrics() -> str:
    registry = CollectorRegistry()
    forwarder = ingest_metrics.Metrics(registry)
    ingest_metrics.add_families(forwarder, _Anything())
    families = {
        "run ws": [*_described(forwarder.lag, forwarder.send_latency), *forwarder.describe()],
        "run ta": _described(*vars(TaMetrics(CollectorRegistry())).values()),
        "run trading": trading_metrics.Metrics().describe(),
        "run visuals": VisualsMetrics(log=EventLog("0"), newest=None).describe(),
        "run guardrails": Gauges(()).describe(),
    }
    parts = [f"# Metrics\n\n{_WRITTEN}Each runtime answers `/metrics` in Prometheus' text format.\n"]
    for runtime, found in families.items():
        rows = sorted(
            f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} "
            f"| {', '.join(f'`{label}`' for label in getattr(family, '_labelnames', ()))} | {_cell(family.documentation)} |"
            for family in found
        )
        parts.append(
            f"## {runtime}\n\n| Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
        )
    return "\n".join(parts)


def _described(*metrics: Any) -> list[Any]:
    """Return the families of prometheus_client's own metrics among these, with their labels."""
    found = []
    for metric in metrics:
        for one in metric.values() if isinstance(metric, dict) else (metric,):
            if isinstance(one, MetricWrapperBase):
                family = next(iter(one.describe()))
                family._labelnames = one._labelnames
                found.append(family)
    return found


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", ()):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else _cell(str(value))}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _topics() -> str:
    rows = [
        f"| `{topic.name}` | {'component' if 'status' in topic.name else 'symbol'} | {topic.partitions} "
        f"| {topic.retention_ms / DAY_MS:g} d | {'compact,delete' if topic.is_compacted else 'delete'} |"
        for topic in ALL
    ]
    return (
        f"# Kafka topics\n\n{_WRITTEN}JSON values (the envelope, see `torghut_core/envelope.py`), lz4, acks all, idempotent. "
        "Retention counts from the records' wall clock.\n\n"
        "| Topic | Key | Partitions | Retention | Cleanup |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def _tables() -> str:
    text = package_files("torghut_core.ta").joinpath("schema.sql").read_text()
    parts = [
        f"# ClickHouse tables\n\n{_WRITTEN}`torghut_core/ta/schema.sql` makes them; readers tolerate duplicates.\n"
    ]
    for match in re.finditer(r"CREATE TABLE IF NOT EXISTS (?P<name>\S+).*?;", text, re.S):
        parts.append(f"```sql\n{match.group()}\n```\n")
    if len(parts) == 1:
        parts.append(f"```sql\n{text.strip()}\n```\n")
    return "\n".join(parts)


def schemas() -> dict[str, str]:
    """Return every JSON Schema by its file's name."""
    return {
        f"{version.removeprefix('torghut.').replace('/', '.')}.json": json.dumps(schema_of(version), indent=2) + "\n"
        for version in VERSIONS
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    SCHEMAS.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (SCHEMAS / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/schemas/{name}")
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/reference/{name}")


if __name__ == "__main__":
    main()
