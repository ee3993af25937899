"""Start entering trades again: whichever switch is off is turned, in one plan, once the evidence is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from torghut_core.clock import utc_datetime
from torghutctl.planning.plan import Draft, Precondition
from torghutctl.planning.yaml_document import UneditableError
from torghutctl.procedures.evidence import clickhouse_writable, data_fresh, revision_ready
from torghutctl.procedures.specification import FileEditor, PlanningInput, Spec, draft_of
from torghutctl.procedures.switch_search import find_switch
from torghutctl.procedures.switches import (
    ENABLED,
    KILL_SWITCH,
    KNATIVE_FILE,
    Setting,
    Switches,
    is_false,
    is_true,
)
from torghutctl.procedures.trading_workload import Workload, is_api_only, trading_workload
from torghutctl.procedures.verification import Check, switch_checks
from torghutctl.snapshot.repository import HistoryEntry, Tree, TreeFile

REVISION = "TORGHUT_REVISION"
IsWanted = Callable[[str | None], bool]


def _relative(folder: str, path: str) -> str:
    return path.removeprefix(f"{folder}/") if folder else path


def _switched_files(tree: Tree) -> tuple[str, ...]:
    """Return the files that set a switch, when others do too: history tells which of them the last pause changed."""
    found = {s.file.path for name in (ENABLED, KILL_SWITCH) for s in find_switch(tree, name).settings}
    names = tuple(sorted(_relative(tree.folder, path) for path in found))
    return () if names == (KNATIVE_FILE,) else names


SPEC = Spec(
    name="resume-trading",
    summary="Start trading again, once data, storage and the service are seen to be good.",
    when="the reason for the pause is gone and health-report shows no failure upstream of trading.",
    needs="the system, live (or --from-snapshot for a mere plan): fresh bars and signals while the market is open, "
    "ClickHouse up, writable and with 15 % disk free, the newest revision Ready. What cannot be read refuses.",
    does="sets TRADING_ENABLED to true and TRADING_KILL_SWITCH_ENABLED to false, whichever is not so, in one change: in "
    "the workload that submits orders (the scheduler Deployment where there is one, else knative-service.yaml), or where "
    "other manifests set them, in the one that the last pause changed, by their history. A process that only serves the "
    "API is never turned on. A Deployment's TORGHUT_REVISION is set to --at (or now), which lifts a recorded stop. "
    "Two processes are never started by one command. "
    "TRADING_MODE and TRADING_LIVE_ENABLED are never touched.",
    verify="the newest revision has both values, /trading/status says enabled=true, running=true, "
    "kill_switch_enabled=false, and decisions appear in the next session.",
    undo="torghutctl pause-trading.",
    paths=("*",),
    is_start=True,
    needs_cluster=True,
    history_of=_switched_files,
    is_stamped=True,
)


def plan(given: PlanningInput) -> Draft:
    """Return the draft. Raises UneditableError when a switch stands where it cannot be edited."""
    workload = trading_workload(given.tree, given.environment.names.service)
    own = f"{given.tree.folder}/{KNATIVE_FILE}" if given.tree.folder else KNATIVE_FILE
    path = workload.file.path if workload is not None else own
    enabled, kill = _of_traders(find_switch(given.tree, ENABLED)), _of_traders(find_switch(given.tree, KILL_SWITCH))
    for switches in (enabled, kill):
        for item in switches.blocked:
            if item.path == path or item.is_unreadable:
                raise UneditableError(item.path, item.why)
    if given.tree.files.get(path) is None:
        raise UneditableError(path, "is not in the repository at the base", hint="check --gitops-path and --base")
    if not enabled.settings:
        raise UneditableError(path, f"does not set {ENABLED}", hint="add the entry by a reviewed change of its own")
    editors: dict[str, FileEditor] = {}
    turned = _one_process(_turned_last(given, enabled.settings, path, is_true), [path])
    trading = [s.file.path for s in turned] or [s.file.path for s in enabled.settings if is_true(s.value)]
    freed = _one_process(_turned_last(given, kill.settings, path, is_false), [*trading, path])
    for setting, wanted in (*((s, "true") for s in turned), *((s, "false") for s in freed)):
        editor = editors.setdefault(setting.file.path, FileEditor.open(setting.file))
        editor.set(setting.address, wanted, label=f"{setting.name} of {setting.owner}", is_text=True)
    wanted_now = f"{ENABLED}=true and {KILL_SWITCH}=false"
    if workload is not None:
        _stamp_revision(given, workload, editors)
    return draft_of(
        list(editors.values()),
        Draft(
            preconditions=(
                data_fresh(given),
                clickhouse_writable(given),
                revision_ready(given),
                _one_writer(enabled, turned),
                _left_off(enabled, turned),
            ),
            verification=(
                f"every process that trades runs with {wanted_now}"
                if workload is None
                else workload.has_taken(wanted_now),
                "/trading/status says enabled=true, running=true, kill_switch_enabled=false",
                given.look("status"),
            ),
            rollback=(given.undo(SPEC, "pause-trading"),),
            summary="resume trading",
            risk="New orders are sent as soon as the new revision holds the leadership.",
        ),
    )


def _of_traders(switches: Switches) -> Switches:
    """Leave out what belongs to a process that only serves the API: its switch is off for good, and nobody turns it on."""
    return replace(switches, settings=tuple(s for s in switches.settings if not is_api_only(s)))


def _stamp_revision(given: PlanningInput, workload: Workload, editors: dict[str, FileEditor]) -> None:
    """Make the start one that may lift a recorded stop: a revision that nobody has seen before.

    A Knative Service has its own new revision with every change; a Deployment says its revision itself. Where nothing else
    changes it is stamped only when a process says that a stop stands.
    """
    if not workload.is_deployment or not (editors or _has_stop(given)):
        return
    found = [s for s in find_switch(given.tree, REVISION).settings if s.owner == workload.owner]
    stamp = utc_datetime(given.at_ns).strftime("%Y-%m-%dT%H:%M:%SZ")
    for setting in found:
        editor = editors.setdefault(setting.file.path, FileEditor.open(setting.file))
        editor.set(setting.address, stamp, label=f"{REVISION} of {setting.owner}", is_text=True, is_restart=True)


def _has_stop(given: PlanningInput) -> bool:
    readings = given.snapshot.readings if given.snapshot is not None else {}
    return any(
        (reading.value or {}).get("stop") is not None
        for source, reading in readings.items()
        if source.startswith("trading/status/")
    )


def _one_process(chosen: list[Setting], preferred: Sequence[str]) -> list[Setting]:
    """Return the places of one process: two that submit orders are never started by one command.

    Among several, those in the first preferred file that has any. Raises UneditableError when that leaves a choice.
    """
    if len({(setting.file.path, setting.owner) for setting in chosen}) <= 1:
        return chosen
    for path in preferred:
        found = [setting for setting in chosen if setting.file.path == path]
        if len({setting.owner for setting in found}) == 1:
            return found
    raise _choice(chosen)


def _choice(chosen: list[Setting]) -> UneditableError:
    places = ", ".join(sorted({setting.file.path for setting in chosen}))
    return UneditableError(
        places,
        f"{chosen[0].name} is off in each, and nothing tells which one is to trade",
        hint="set it where it belongs by a reviewed change of its own",
    )


def _turned_last(given: PlanningInput, settings: Iterable[Setting], path: str, is_wanted: IsWanted) -> list[Setting]:
    """Return the places that are not as wanted and were turned by the newest change that turned any.

    Where history does not tell, these are the ones in `path`, or the only one. Raises UneditableError when that leaves
    a choice.
    """
    found = list(settings)
    off = [setting for setting in found if not is_wanted(setting.value)]
    changes = {id(setting): _turning_change(given, setting, is_wanted) for setting in off}
    newest = max((c for c in changes.values() if c is not None), key=lambda c: c.committed_at, default=None)
    if newest is not None:
        return [s for s in off if (change := changes[id(s)]) is not None and change.commit == newest.commit]
    if given.history and len(off) < len(found):
        return []  # one has it as wanted, and the others never had
    own = [setting for setting in off if setting.file.path == path]
    if not own and len({setting.file.path for setting in off}) > 1:
        raise _choice(off)
    return own or off


def _turning_change(given: PlanningInput, setting: Setting, is_wanted: IsWanted) -> HistoryEntry | None:
    """Return the change that last turned a switch away from what is wanted; None when it never was as wanted."""
    versions = given.history.get(_relative(given.tree.folder, setting.file.path), ())
    for newer, older in pairwise(versions):
        file = TreeFile(path=setting.file.path, blob="", mode=setting.file.mode, data=older.data)
        tree = Tree(folder=given.tree.folder, commit=older.commit, files={file.path: file})
        before = [s.value for s in find_switch(tree, setting.name).settings if s.owner == setting.owner]
        if any(is_wanted(value) for value in before):
            return newer
    return None


def _one_writer(enabled: Switches, turned: list[Setting]) -> Precondition:
    """Refuse to start an order-submitting process beside one that another manifest has on."""
    ours = {id(setting) for setting in turned}
    others = sorted({s.file.path for s in enabled.settings if id(s) not in ours and not is_false(s.value)})
    is_beside = bool(turned) and bool(others)
    return Precondition(
        name="no other manifest has trading on",
        ok=not is_beside,
        detail=f"on in {', '.join(others)}" if is_beside else "none has, beside those that this plan is about",
        value=str(not is_beside),
    )


def _left_off(enabled: Switches, turned: list[Setting]) -> Precondition:
    """Name what stays off, so that nobody takes it for started."""
    ours = {id(setting) for setting in turned}
    off = sorted({s.file.path for s in enabled.settings if id(s) not in ours and is_false(s.value)})
    detail = f"left off in {', '.join(off)}" if off else "it is off nowhere else"
    return Precondition(name="every manifest that sets it is turned on", ok=not off, detail=detail, refuses=False)


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the change to be true."""
    return switch_checks(given, ENABLED, KILL_SWITCH)
