"""Start entering trades again: whichever switch is off is turned, in one plan, once the evidence is there."""

from __future__ import annotations

from torghutctl.planning.plan import Draft, Precondition
from torghutctl.planning.yaml_document import UneditableError
from torghutctl.procedures.evidence import clickhouse_writable, data_fresh, revision_ready
from torghutctl.procedures.specification import FileEditor, PlanningInput, Spec, draft_of
from torghutctl.procedures.switches import ENABLED, KILL_SWITCH, KNATIVE_FILE, Switches, find_switch, is_false, is_true
from torghutctl.procedures.verification import Check, switch_checks

SPEC = Spec(
    name="resume-trading",
    summary="Start trading again, once data, storage and the service are seen to be good.",
    when="the reason for the pause is gone and health-report shows no failure upstream of trading.",
    needs="the system, live (or --from-snapshot for a mere plan): fresh bars and signals while the market is open, "
    "ClickHouse up, writable and with 15 % disk free, the newest revision Ready. What cannot be read refuses.",
    does="sets TRADING_ENABLED to true and TRADING_KILL_SWITCH_ENABLED to false in knative-service.yaml, whichever is not "
    "so, in one change. TRADING_MODE and TRADING_LIVE_ENABLED are never touched.",
    verify="the newest revision has both values, /trading/status says enabled=true, running=true, "
    "kill_switch_enabled=false, and decisions appear in the next session.",
    undo="torghutctl pause-trading.",
    paths=(KNATIVE_FILE,),
    needs_cluster=True,
)


def plan(given: PlanningInput) -> Draft:
    """Return the draft. Raises UneditableError when a switch stands where it cannot be edited."""
    path = f"{given.tree.folder}/{KNATIVE_FILE}" if given.tree.folder else KNATIVE_FILE
    source = given.tree.files.get(path)
    if source is None:
        raise UneditableError(path, "is not in the repository at the base", hint="check --gitops-path and --base")
    enabled, kill = find_switch(given.tree, ENABLED), find_switch(given.tree, KILL_SWITCH)
    for switches in (enabled, kill):
        for item in switches.blocked:
            if item.path == path:
                raise UneditableError(path, item.why)
    editor = FileEditor.open(source)
    for switches, wanted in ((enabled, "true"), (kill, "false")):
        for setting in switches.settings:
            is_so = is_true(setting.value) if wanted == "true" else is_false(setting.value)
            if setting.file.path == path and not is_so:
                editor.set(setting.address, wanted, label=f"{setting.name} of {setting.owner}", is_text=True)
    if not any(setting.file.path == path for setting in enabled.settings):
        raise UneditableError(path, f"does not set {ENABLED}", hint="add the entry by a reviewed change of its own")
    return draft_of(
        [editor],
        Draft(
            preconditions=(
                data_fresh(given),
                clickhouse_writable(given),
                revision_ready(given),
                _one_writer(enabled, path),
            ),
            verification=(
                f"the Knative Service {given.environment.names.service} is Ready on a new revision that has "
                f"{ENABLED}=true and {KILL_SWITCH}=false",
                "/trading/status says enabled=true, running=true, kill_switch_enabled=false",
                "torghutctl status",
            ),
            rollback=(f"torghutctl pause-trading -e {given.environment.name} --reason TEXT --pr",),
            summary="resume trading",
            risk="New orders are sent as soon as the new revision holds the leadership.",
        ),
    )


def _one_writer(enabled: Switches, path: str) -> Precondition:
    """Refuse to start a second order-submitting process beside one that another manifest has on."""
    others = sorted({s.file.path for s in enabled.settings if s.file.path != path and not is_false(s.value)})
    return Precondition(
        name="no other manifest has trading on",
        ok=not others,
        detail=f"on in {', '.join(others)}" if others else "this one alone",
        value=str(not others),
    )


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the change to be true."""
    return switch_checks(given, ENABLED, KILL_SWITCH)
