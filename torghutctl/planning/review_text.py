"""The words of a change: branch name, commit message, pull request title and body."""

from __future__ import annotations

from torghut_core.clock import utc_datetime
from torghutctl.planning.plan import Plan
from torghutctl.render.redaction import redact_text

_SCOPE = "torghut"


def branch_name(plan: Plan, at_ns: int) -> str:
    """Return `agentruns/torghut-<change>-<yyyymmdd-hhmm>-<digest8>`."""
    stamp = utc_datetime(at_ns).strftime("%Y%m%d-%H%M")
    return f"agentruns/torghut-{plan.procedure}-{stamp}-{plan.digest.removeprefix('sha256:')[:8]}"


def pull_request_title(plan: Plan) -> str:
    """Return a Conventional Commits title, subject in lower case."""
    return f"chore({_SCOPE}): {plan.draft.summary}"


def commit_message(plan: Plan, reason: str, ticket: str, audit_head: str) -> str:
    """Return title, reason and trailers; `audit_head` is the hash of the audit line written before the commit."""
    changes = "\n".join(
        f"- {item.path}: {item.label} {item.before or 'unset'} -> {item.after}" for item in plan.draft.changes
    )
    trailers = [f"Plan-Digest: {plan.digest}", f"Reason: {_one_line(reason)}"]
    if ticket:
        trailers.append(f"Ticket: {_one_line(ticket)}")
    trailers += [f"Environment: {plan.environment}", f"Audit-Head: {audit_head}"]
    return redact_text(f"{pull_request_title(plan)}\n\n{changes}\n") + "\n" + "\n".join(trailers) + "\n"


def pull_request_body(plan: Plan, danger: str, reason: str, ticket: str, note: str) -> str:
    """Return the body in markdown: summary, diff, preconditions, verification, rollback, risk, digest; masked."""
    draft = plan.draft
    mark = {True: "yes", False: "no", None: "not known"}
    sections = [
        ("Summary", f"{draft.summary} in environment `{plan.environment}`.\n\nReason: {_one_line(reason)}"),
        ("Related Issues", _one_line(ticket) or "none given"),
        (
            "Changes",
            "\n".join(f"- `{c.path}`: {c.label}, `{c.before or 'unset'}` → `{c.after}`" for c in draft.changes),
        ),
        ("Diff", "".join(f"```diff\n{edit.diff}```\n" for edit in draft.edits).rstrip()),
        ("Preconditions", "\n".join(f"- {p.name}: {mark[p.ok]} ({p.detail})" for p in draft.preconditions)),
        ("Left as they are", "\n".join(f"- {path}" for path in draft.skipped)),
        ("Other pull requests", note),
        ("Verification", "\n".join(f"- [ ] {_step(step)}" for step in draft.verification)),
        ("Rollback", "\n".join(f"- {_step(step)}" for step in draft.rollback)),
        ("Risk", f"{danger}. {draft.risk}".strip()),
        ("Plan", f"Procedure `{plan.procedure}` at `{plan.base}`\n\nPlan-Digest: {plan.digest}"),
    ]
    return redact_text("\n\n".join(f"## {title}\n\n{text}" for title, text in sections if text)) + "\n"


def _step(text: str) -> str:
    """Return a step in markdown: a command line as code, a sentence as it is."""
    return f"`{text}`" if text.startswith("torghutctl ") else text


def _one_line(text: str) -> str:
    return redact_text(" ".join(text.split()))
