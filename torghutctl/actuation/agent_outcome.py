"""How a run in a pod ends: the file that the platform takes its outcome from, and the report beside it.

The platform reads one JSON object from the container's termination message, `/workspace/.agent/status.json` by default:
`status` decides over the Job's own exit code, `error` and the artifacts are copied into the run's status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torghut_core.rfc3339 import format_ns
from torghutctl.errors import ExitCode
from torghutctl.render.redaction import redact_text

DEFAULT_STATUS = Path("/workspace/.agent/status.json")
MAX_BYTES = 4096
"""What is kept of a termination message."""
_MAX_ERROR, _MAX_URL = 640, 2048
_NO_FAILURE = frozenset({ExitCode.OK, ExitCode.DEGRADED, ExitCode.DOWN, ExitCode.UNKNOWN})
"""A health report that finds the system down has done what it was asked."""


@dataclass(frozen=True, kw_only=True)
class AgentOutcome:
    """What came of a run."""

    change: str
    exit_code: int
    started_ns: int
    finished_ns: int
    message: str = ""
    """The refusal or the failure, in a sentence."""
    digest: str | None = None
    pull_request: str | None = None
    report: str = ""
    """Markdown."""

    @property
    def is_success(self) -> bool:
        if self.change == "health-report":
            return self.exit_code in _NO_FAILURE
        return self.exit_code == ExitCode.OK

    def status(self, provider: str, report: Path) -> dict[str, Any]:
        """Return the platform's object, at most MAX_BYTES of JSON."""
        artifacts = [{"name": "report", "path": str(report)}]
        if self.digest is not None:
            artifacts.append({"name": "plan-digest", "key": self.digest})
        if self.pull_request is not None and len(self.pull_request) <= _MAX_URL:
            artifacts.append({"name": "pull-request", "url": self.pull_request})
        found: dict[str, Any] = {
            "status": "succeeded" if self.is_success else "failed",
            "provider": provider,
            "adapter": "exec",
            "exitCode": self.exit_code,
            "reason": "Refused" if self.exit_code == ExitCode.REFUSED else "Done" if self.is_success else "Failed",
            "startedAt": format_ns(self.started_ns),
            "finishedAt": format_ns(self.finished_ns),
            "artifacts": {"outputArtifacts": artifacts},
        }
        most = _MAX_ERROR
        while self.message and most:
            found["error"] = _cut(redact_text(self.message), most)
            if len(json.dumps(found)) < MAX_BYTES:
                break
            most //= 2  # letters beyond ASCII take six bytes each
        return found


def write_outcome(outcome: AgentOutcome, environment: Mapping[str, str]) -> list[str]:
    """Write status and report where the platform reads them; return what could not be written, in sentences.

    The effect decides the exit code, so a file that cannot be written is told and changes nothing.
    """
    status = _status_path(environment)
    report = status.with_name("report.md")
    provider = environment.get("AGENT_PROVIDER", "torghutctl")
    problems = []
    for path, text in (
        (report, redact_text(outcome.report)),
        (status, json.dumps(outcome.status(provider, report), ensure_ascii=True) + "\n"),
    ):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            problems.append(f"{path}: cannot be written: {error.strerror}")
    return problems


def _status_path(environment: Mapping[str, str]) -> Path:
    """Return where the runner's description wants the status; its usual place where it does not say."""
    try:
        runner = json.loads(Path(environment.get("AGENT_RUNNER_SPEC_PATH", "")).read_text(encoding="utf-8"))
        return Path(runner["artifacts"]["statusPath"])
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_STATUS


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
