"""Stop entering trades: `TRADING_ENABLED` off wherever an order-submitting process is told it; or the kill switch on."""

from __future__ import annotations

from collections.abc import Iterable

from torghutctl.errors import InputError
from torghutctl.planning.plan import Draft, Precondition
from torghutctl.planning.yaml_document import Address, UneditableError
from torghutctl.procedures.specification import FileEditor, PlanningInput, Spec, draft_of
from torghutctl.procedures.switch_search import find_switch
from torghutctl.procedures.switches import (
    ENABLED,
    KILL_SWITCH,
    KNATIVE_FILE,
    LIVE_ENABLED,
    MODE,
    Blocked,
    Setting,
    is_false,
    is_true,
)
from torghutctl.procedures.trading_workload import trading_workload
from torghutctl.procedures.verification import Check, switch_checks

SPEC = Spec(
    name="pause-trading",
    summary="Stop trading: no new decision, no new order. Open orders stay open unless --cancel-orders is given.",
    when="anything is uncertain: stale data, a broker that answers oddly, two writers, a release that misbehaves.",
    needs="the repository alone. Nothing of the cluster is required: stopping is always possible. An audit log that is "
    "damaged (8) or cannot be written (9) does not hold it up: it is done, and the exit code tells of the gap.",
    does="sets TRADING_ENABLED to false in knative-service.yaml and in every other manifest under the gitops path that "
    "sets it. With --cancel-orders it sets TRADING_KILL_SWITCH_ENABLED to true instead, since only that cancels open "
    "orders. TRADING_MODE and TRADING_LIVE_ENABLED are never touched. A file that cannot be edited is named, the others "
    "are still changed, and the exit code is 6.",
    verify="the newest revision of the service has the value, and /trading/status says enabled=false (or "
    "kill_switch_enabled=true). Merged is not applied: add --wait, and --sync where Argo CD is manual.",
    undo="torghutctl resume-trading, which asks for evidence first.",
    paths=("*",),
    is_stop=True,
)


def plan(given: PlanningInput, *, cancel_orders: bool = False) -> Draft:
    """Return the draft. Raises InputError when nothing under the gitops path belongs to trading."""
    enabled = find_switch(given.tree, ENABLED)
    blocked: list[Blocked] = []
    if cancel_orders:
        kill = find_switch(given.tree, KILL_SWITCH)
        editors = _switch_on(given, kill.settings, enabled.settings, blocked)
        blocked.extend(kill.blocked)
        set_in = {setting.file.path for setting in kill.settings}
        blocked.extend(item for item in enabled.blocked if item.path not in set_in)
    else:
        editors = _switch_off(enabled.settings, blocked)
        blocked.extend(enabled.blocked)
    if given.tree.file(KNATIVE_FILE) is None and not enabled.settings and not blocked:
        raise InputError(
            f"--gitops-path {given.tree.folder}: holds no {KNATIVE_FILE} and nothing that sets {ENABLED}",
            hint="give the folder of the torghut application",
        )
    wanted = f"{KILL_SWITCH}=true" if cancel_orders else f"{ENABLED}=false"
    workload = trading_workload(given.tree, given.environment.names.service)
    skipped = tuple(dict.fromkeys(str(item) for item in blocked))
    base = Draft(
        preconditions=(
            Precondition(
                name="every place that sets the switch can be edited",
                ok=not skipped,
                detail="; ".join(skipped) or f"{wanted} can be set in every one",
                refuses=False,
            ),
        ),
        verification=(
            f"every process that trades runs with {wanted}" if workload is None else workload.has_taken(wanted),
            "/trading/status says kill_switch_enabled=true, and no order is open"
            if cancel_orders
            else "/trading/status says enabled=false and running=false",
            given.look("status"),
        ),
        rollback=(given.undo(SPEC, "resume-trading"),),
        summary="cancel orders and halt trading" if cancel_orders else "pause trading",
        risk="Open orders are cancelled; positions stay."
        if cancel_orders
        else "Open orders and positions stay as they are, and are not reconciled while trading is off.",
        skipped=skipped,
    )
    return draft_of(editors, base)


def _switch_off(settings: Iterable[Setting], blocked: list[Blocked]) -> list[FileEditor]:
    editors: dict[str, FileEditor] = {}
    for setting in settings:
        if is_false(setting.value):
            continue
        editor = editors.setdefault(setting.file.path, FileEditor.open(setting.file))
        _try_set(editor, setting, "false", ENABLED, blocked)
    return list(editors.values())


def _switch_on(
    given: PlanningInput, kill: Iterable[Setting], enabled: Iterable[Setting], blocked: list[Blocked]
) -> list[FileEditor]:
    """Set every kill switch, and put one in beside the settings of trading processes that have none."""
    editors: dict[str, FileEditor] = {}
    present = set()
    for setting in kill:
        present.add((setting.file.path, setting.surroundings))
        if is_true(setting.value):
            continue
        editor = editors.setdefault(setting.file.path, FileEditor.open(setting.file))
        _try_set(editor, setting, "true", KILL_SWITCH, blocked)
    for setting in [*enabled, *_signs_of_trading(given)]:
        place = (setting.file.path, setting.surroundings)
        if place in present:
            continue
        present.add(place)
        if setting.is_operation:
            why = f"{setting.owner} sets {setting.name}, and {KILL_SWITCH} cannot be put beside it"
            blocked.append(Blocked(path=setting.file.path, why=why))
            continue
        editor = editors.setdefault(setting.file.path, FileEditor.open(setting.file))
        label = f"{KILL_SWITCH} of {setting.owner}"
        try:
            if setting.entry is None:
                editor.set((*place[1], KILL_SWITCH), "true", label=label, is_text=True)
            else:
                # Entries put in before this one have moved it; find it again by its name.
                editor.add_after(_moved(editor, setting), KILL_SWITCH, "true", label=label)
        except UneditableError as error:
            blocked.append(Blocked(path=setting.file.path, why=f"{label}: {error.why}"))
    return list(editors.values())


def _moved(editor: FileEditor, setting: Setting) -> Address:
    """Return where the setting's entry stands now, after entries may have been put in before it."""
    assert setting.entry is not None
    sequence = setting.entry[:-1]
    node = editor.yaml.node(sequence)
    for position in range(len(node.value)):
        if editor.yaml.value((*sequence, position, "name")) == setting.name:
            return (*sequence, position)
    return setting.entry


def _signs_of_trading(given: PlanningInput) -> list[Setting]:
    """Return settings that only a trading process has, so that one without TRADING_ENABLED is not overlooked."""
    found = [s for name in (MODE, LIVE_ENABLED) for s in find_switch(given.tree, name).settings]
    # A CronJob that is told the mode reconciles; it holds no loop, and sends no order.
    return [setting for setting in found if setting.owner.split(" ")[0] not in ("CronJob", "Job")]


def _try_set(editor: FileEditor, setting: Setting, wanted: str, name: str, blocked: list[Blocked]) -> None:
    try:
        editor.set(setting.address, wanted, label=f"{name} of {setting.owner}", is_text=True)
    except UneditableError as error:
        blocked.append(Blocked(path=setting.file.path, why=f"{name} of {setting.owner}: {error.why}"))


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the change to be true."""
    return switch_checks(given, ENABLED, KILL_SWITCH)
