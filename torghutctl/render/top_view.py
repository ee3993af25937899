"""One frame of `top`: verdict, cause, next step, a line per component, and what trading does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghutctl.render.output import columns


def frame(report: Mapping[str, Any], *, width: int | None = None, height: int | None = None) -> str:
    """Return the frame as plain text, cut to a terminal of this size."""
    health, trading = report["health"], report["trading"]
    cause, step = health["topCause"], health["nextProcedure"]
    lines = [f"{str(health['classification']).upper()}  {health['observedAt']}  market {health['marketSession']}"]
    if cause is not None:
        lines.append(f"cause  {cause['component']}: {cause['reason']}: {cause['message']}")
    if step is not None:
        lines.append(f"next   {step['command'] or step['runbook']}")
    lines += [f"trades {trading['trades']}; git, cluster and service: {trading['agreement']}", ""]
    rows = [("COMPONENT", "STATUS", "REASONS")]
    for component in health["components"]:
        reasons = ", ".join(
            finding["reason"] + (" (info)" if finding["severity"] == "info" else "")
            for finding in component["findings"]
        )
        rows.append((component["name"], component["status"], reasons or "-"))
    lines += [columns(rows), ""]
    settings = [("SETTING", "EFFECTIVE", "GIT", "")]
    settings += [
        (row["name"], _text(row["effective"]), _text(row["git"]), "" if row["agrees"] else "DIFFERENT")
        for row in trading["settings"]
    ]
    lines.append(columns(settings))
    shown = "\n".join(lines).split("\n")[:height]
    return "\n".join(line[:width] for line in shown)


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
