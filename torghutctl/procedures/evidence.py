"""What a procedure asks of the system before it starts something, and the precondition that keeps the answer.

Every question has three answers: yes, no, not known; a refusing precondition takes the last for a no. `value` is coarse
on purpose: it stands in the digest, and the same state must give the same plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.market_calendar import CalendarName, MarketCalendar
from torghut_core.rfc3339 import parse_ns
from torghutctl.planning.plan import Precondition
from torghutctl.procedures.specification import PlanningInput
from torghutctl.procedures.switch_search import find_switch
from torghutctl.procedures.switches import ENABLED, KILL_SWITCH, is_false, is_true
from torghutctl.snapshot.model import Failure, Reading, Snapshot

MIN_FREE_RATIO = 0.15
"""Below it the guardrail alerts (clickhouse_disk_low); writing more is what must not happen then."""
SIGNALS_LIMIT_SECONDS = 900
MICROBARS_LIMIT_SECONDS = 300
GAUGES_LIMIT_SECONDS = 300
"""Gauges older than this say what was, not what is."""
_LATEST = "freshness/latest/"
_STATUS = "trading/status/"


def read_source(given: PlanningInput, source: str) -> Reading:
    """Return the reading of a source; without a snapshot, why there is none."""
    if given.snapshot is None:
        return Reading(source=source, failure=Failure.UNREACHABLE, detail=given.snapshot_failure or "not read")
    return given.snapshot.reading(source)


def _family(snapshot: Snapshot | None, head: str) -> Iterator[tuple[str, Reading]]:
    for source, reading in snapshot.readings.items() if snapshot is not None else ():
        if source.startswith(head):
            yield source.removeprefix(head), reading


def not_known(name: str, reading: Reading, *, refuses: bool = True) -> Precondition:
    """Return the precondition whose answer could not be read."""
    failure = (reading.failure or Failure.UNREACHABLE).value
    detail = f"{reading.source}: {failure}" + (f" ({reading.detail})" if reading.detail else "")
    return Precondition(name=name, ok=None, detail=detail, refuses=refuses, value="unknown")


def clickhouse_writable(given: PlanningInput, *, refuses: bool = True) -> Precondition:
    """Ask the guardrail gauges whether every replica is up, writable, and has disk to spare."""
    name = "ClickHouse can be written"
    reading = read_source(given, "clickhouse/gauges")
    gauges = reading.value if isinstance(reading.value, dict) and reading.value else None
    if gauges is None:
        return not_known(name, reading, refuses=refuses)
    problems: list[str] = []
    for replica, found in sorted(cast("dict[str, Mapping[str, float]]", gauges).items()):
        if found.get("clickhouse_up") != 1:
            problems.append(f"replica {replica} is not up")
        if found.get("any_replica_readonly", 1) >= 1:
            problems.append(f"replica {replica} has a read-only table, or does not say")
        age = (given.snapshot.observed_at_ns if given.snapshot else 0) / NANOS_PER_SECOND - found.get(
            "last_scrape_ts_seconds", 0
        )
        if "last_scrape_ts_seconds" not in found or "last_scrape_success" not in found:
            problems.append(f"replica {replica} does not say when it was last looked at")
        elif found["last_scrape_success"] != 1 or age > GAUGES_LIMIT_SECONDS:
            problems.append(f"replica {replica} was last looked at {age:.0f} s ago, or not with success")
        ratio = free_ratio(found)
        if ratio is None or ratio < MIN_FREE_RATIO:
            shown = "unknown" if ratio is None else f"{ratio:.1%}"
            problems.append(f"replica {replica} has {shown} disk free, {MIN_FREE_RATIO:.0%} is needed")
    detail = "; ".join(problems) or f"{len(gauges)} replicas up, writable, disk to spare"
    return Precondition(name=name, ok=not problems, detail=detail, refuses=refuses, value=str(not problems))


def free_ratio(gauges: Mapping[str, float]) -> float | None:
    """Return the free share of a replica's disk, 0 to 1."""
    if "disk_free_ratio" in gauges:
        return gauges["disk_free_ratio"]
    total, free = gauges.get("disk_total_bytes"), gauges.get("disk_free_bytes")
    return free / total if total and free is not None else None


def replay_headroom(given: PlanningInput, window_days: float, kept_days: float) -> Precondition:
    """Estimate whether the rows of a window fit beside those that are there, until merges drop the older versions.

    The worst case: every row of the window is written once more, and rows take the disk evenly over the days kept.
    """
    name = "the disk has room for the replayed rows"
    reading = read_source(given, "clickhouse/gauges")
    gauges = reading.value if isinstance(reading.value, dict) and reading.value else None
    if gauges is None:
        return not_known(name, reading)
    share = min(1.0, window_days / kept_days)
    ratios = {replica: free_ratio(found) for replica, found in sorted(gauges.items())}
    left = {replica: None if free is None else free - (1 - free) * share for replica, free in ratios.items()}
    short = [replica for replica, rest in left.items() if rest is None or rest < MIN_FREE_RATIO]
    shown = ", ".join(f"{replica} {'unknown' if rest is None else f'{rest:.0%}'}" for replica, rest in left.items())
    detail = f"estimated free at worst, for {window_days:.1f} days: {shown}; {MIN_FREE_RATIO:.0%} is needed"
    return Precondition(name=name, ok=not short, detail=detail, value=str(not short))


def data_fresh(given: PlanningInput) -> Precondition:
    """Ask whether bars and signals are fresh while the market should produce them; a closed market asks for none."""
    name = "data is fresh"
    if given.snapshot is None:
        return not_known(name, read_source(given, f"{_LATEST}*"))
    local = given.snapshot.reading("local/endpoints").value or {}
    calendar = MarketCalendar(cast("CalendarName", local.get("marketCalendar", "XNYS")))
    now = given.snapshot.observed_at_ns
    opened = calendar.feed_open_since(_feed(given.snapshot, local), now)
    if opened is None:
        return Precondition(name=name, ok=True, detail="the market is closed, nothing is expected", value="closed")
    rows = [reading.value for _, reading in _family(given.snapshot, _LATEST) if reading.is_ok]
    if not rows:
        failed = next((reading for _, reading in _family(given.snapshot, _LATEST)), None)
        return not_known(name, failed or read_source(given, f"{_LATEST}*"))
    problems = []
    for key, limit in (("signals", SIGNALS_LIMIT_SECONDS), ("bars", MICROBARS_LIMIT_SECONDS)):
        times = [parse_ns(row[key]["event"]) for row in rows if row.get(key)]
        since = max([*times, opened]) if calendar.is_always_open is False else max(times, default=0)
        age = (now - since) / NANOS_PER_SECOND
        if age > limit or not times:
            problems.append(
                f"the newest {key} are {age:.0f} s old, {limit} s is the limit" if times else f"there are no {key}"
            )
    return Precondition(
        name=name, ok=not problems, detail="; ".join(problems) or "bars and signals are fresh", value=str(not problems)
    )


def _feed(snapshot: Snapshot, local: Mapping[str, Any]) -> str:
    if local.get("feed"):
        return str(local["feed"])
    for source in ("forwarder/deployment", "forwarder/configmap"):
        for item in (snapshot.reading(source).value or {}).get("variables", []):
            if item.get("name") == "ALPACA_FEED" and item.get("value"):
                return str(item["value"])
    return "iex"


def revision_ready(given: PlanningInput) -> Precondition:
    """Ask whether the newest revision of the trading service is Ready and the only one that serves."""
    name = "the newest revision is Ready"
    reading = read_source(given, "trading/service")
    if reading.failure is Failure.NOT_PRESENT:
        return Precondition(name=name, ok=True, detail="this target has no revisions", value="not present")
    value = reading.value if isinstance(reading.value, dict) else None
    if value is None:
        return not_known(name, reading)
    ready = next((c.get("status") for c in value.get("conditions", []) if c.get("type") == "Ready"), None)
    created, newest = value.get("newestCreated"), value.get("newestReady")
    ok = ready == "True" and created is not None and created == newest
    detail = f"{newest} is Ready" if ok else f"Ready={ready}, newest created {created}, newest ready {newest}"
    return Precondition(name=name, ok=ok, detail=detail, value=str(ok))


def _first(given: PlanningInput, command: str, before: str) -> str:
    """Return the command that makes an answer a yes, as the end of what was seen."""
    return f"; first: {given.look(command, '--reason', f'before {before}')}"


def trading_paused(given: PlanningInput, *, before: str, refuses: bool = True) -> Precondition:
    """Ask whether trading is off, in git and in the effective state of every trading process.

    `before` is the procedure that asks.
    """
    name = "trading is paused, in git and in effect"
    switches = find_switch(given.tree, ENABLED)
    kill = find_switch(given.tree, KILL_SWITCH)
    on_in_git = [s.file.path for s in switches.settings if not is_false(s.value)]
    is_killed = bool(kill.settings) and all(is_true(s.value) for s in kill.settings)
    if (on_in_git or switches.blocked) and not is_killed:
        where = ", ".join([*on_in_git, *(item.path for item in switches.blocked)])
        detail = f"git has it on: {where}{_first(given, 'pause-trading', before)}"
        return Precondition(name=name, ok=False, detail=detail, refuses=refuses, value="on in git")
    answers = [(pod, reading) for pod, reading in _family(given.snapshot, _STATUS) if reading.is_ok]
    failed = [reading for _, reading in _family(given.snapshot, _STATUS) if not reading.is_ok]
    if failed or not answers:
        return not_known(name, failed[0] if failed else read_source(given, f"{_STATUS}*"), refuses=refuses)
    trading = [
        pod
        for pod, reading in answers
        if reading.value.get("enabled") is not False and not reading.value.get("killSwitch")
    ]
    detail = f"still on in {', '.join(trading)}" if trading else f"off in git and in {len(answers)} running processes"
    return Precondition(name=name, ok=not trading, detail=detail, refuses=refuses, value=str(not trading))


def kafka_ready(given: PlanningInput, *, refuses: bool = False) -> Precondition:
    """Ask whether the Kafka cluster says Ready: a restart without its broker only fails again."""
    name = "Kafka is ready"
    reading = read_source(given, "kafka/cluster")
    if reading.failure is Failure.NOT_PRESENT:
        return Precondition(
            name=name, ok=True, detail="this target has no such object", refuses=refuses, value="not present"
        )
    value = reading.value if isinstance(reading.value, dict) else None
    if value is None:
        return not_known(name, reading, refuses=refuses)
    ready = next((c.get("status") for c in value.get("conditions", []) if c.get("type") == "Ready"), None)
    return Precondition(name=name, ok=ready == "True", detail=f"Ready={ready}", refuses=refuses, value=str(ready))


def job(given: PlanningInput) -> Mapping[str, Any] | None:
    """Return the FlinkDeployment as read, None when it could not be."""
    value = read_source(given, "ta/flinkdeployment").value
    return value if isinstance(value, dict) else None


def ta_suspended(given: PlanningInput, *, before: str) -> Precondition:
    """Ask whether the TA job is suspended in effect: nothing of it runs. `before` is the procedure that asks."""
    name = "TA is suspended"
    found = job(given)
    process = read_source(given, "ta/deployment").value
    if found is None and isinstance(process, dict):
        ok = process.get("replicas") == 0 and process.get("readyReplicas") == 0
        detail = f"{process.get('readyReplicas')} of {process.get('replicas')} replicas ready"
        detail += "" if process.get("replicas") == 0 else _first(given, "suspend-ta", before)
        return Precondition(name=name, ok=ok, detail=detail, value=str(ok))
    if found is None:
        return not_known(name, read_source(given, "ta/flinkdeployment"))
    ok = found.get("wantedState") == "suspended" and found.get("lifecycle") == "SUSPENDED"
    detail = f"wanted {found.get('wantedState')}, lifecycle {found.get('lifecycle')}, job {found.get('job')}"
    detail += "" if found.get("wantedState") == "suspended" else _first(given, "suspend-ta", before)
    return Precondition(name=name, ok=ok, detail=detail, value=str(ok))


def keeper_ready(given: PlanningInput) -> Precondition:
    """Ask whether Keeper answers: restoring a replica without it destroys more."""
    name = "Keeper is up"
    reading = read_source(given, "pods")
    if not isinstance(reading.value, list):
        return not_known(name, reading)
    pods = [p for p in reading.value if "clickhouse-keeper.altinity.com/chk" in p.get("labels", {})]
    ready = [
        p for p in pods if any(c.get("type") == "Ready" and c.get("status") == "True" for c in p.get("conditions", []))
    ]
    ok = bool(pods) and len(ready) == len(pods)
    return Precondition(name=name, ok=ok, detail=f"{len(ready)} of {len(pods)} Keeper pods are ready", value=str(ok))
