"""What one request writes to the audit log, and what is to be said when it could not.

A start is not done without its line. A stop is: a log that is damaged or cannot be written must not keep trading or the
job running. It then says so, and ends with the code it would have been refused with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghut_core.rfc3339 import format_ns
from torghutctl.actuation.request import Request
from torghutctl.effects.audit_log import NO_HEAD, AuditLog
from torghutctl.errors import TorghutError, UnverifiedError, UpstreamError
from torghutctl.planning.gates import GateAnswer
from torghutctl.planning.plan import Plan
from torghutctl.render.redaction import redact_text


class Record:
    """The audit lines of one request."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._log = AuditLog(request.audit_path)
        self.gap: TorghutError | None = None
        """What the log does not tell as it should; None when all is on record."""

    def intent(self, plan: Plan, answers: tuple[GateAnswer, ...]) -> str:
        """Write the line that comes before an effect and return its hash, NO_HEAD when a stop goes on without one."""
        fields = {
            "event": "intent",
            "effect": self._request.effect.value,
            "gates": {answer.name: answer.detail for answer in answers},
        }
        return self._write(plan, fields, is_owed=not self._request.spec.is_stop)

    def step(self, plan: Plan, fields: Mapping[str, Any]) -> None:
        """Write the line of a step outside git. Raises when it cannot."""
        self._write(plan, fields, is_owed=True)

    def result(self, plan: Plan, event: str) -> None:
        """Write what came of it. It is done by now, so what is missing of the record is kept in `gap`."""
        self._write(plan, {"event": event, "result": plan.report()["result"]}, is_owed=False)

    def _write(self, plan: Plan, fields: Mapping[str, Any], *, is_owed: bool) -> str:
        line = {**self._common(plan), **fields}
        try:
            return self._log.append(line).hash
        except (UnverifiedError, UpstreamError) as error:
            if is_owed:
                raise
            return self._despite(error, line)

    def _despite(self, error: TorghutError, line: Mapping[str, Any]) -> str:
        """Write the line behind the damage, or nowhere; keep what is to be said of it."""
        cause = error
        try:
            if isinstance(error, UnverifiedError):
                written = self._log.append(line, despite_damage=True).hash
                self.gap = UnverifiedError(
                    f"done, and noted behind the damage: {_without_consequence(error)}", hint=error.hint
                )
                return written
        except UpstreamError as failed:
            cause = failed
        self.gap = UpstreamError(
            f"done, but it is not on record: {_without_consequence(cause)}",
            hint="make the log writable, then repeat the command: what is open already is noted then",
        )
        return NO_HEAD

    def _common(self, plan: Plan) -> dict[str, object]:
        request = self._request
        return {
            "at": format_ns(request.now_ns),
            "who": request.actor,
            "procedure": plan.procedure,
            "environment": plan.environment,
            "digest": plan.digest,
            "reason": redact_text(" ".join(request.intent.reason.split())),
            "ticket": request.ticket,
        }


def _without_consequence(error: TorghutError) -> str:
    return str(error).replace(", so nothing is done", "")
