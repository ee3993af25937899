"""Write `docs/reference/*.md` from the code: topics, tables, environment variables. A test compares.

python scripts/write_reference.py
"""

from __future__ import annotations

import re
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from torghut_core.settings import variable_names
from torghut_core.topics import ALL, DAY_MS
from torghutctl.commands.explain_config import RUNTIMES, settings_class

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
_WRITTEN = "<!-- Written by scripts/write_reference.py from the code. -->\n\n"


def pages() -> dict[str, str]:
    """Return every page by its name."""
    return {"environment.md": _environment(), "topics.md": _topics(), "tables.md": _tables()}


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


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/reference/{name}")


if __name__ == "__main__":
    main()
