"""Rules of ClickHouse, from the guardrail gauges: up, disk, read-only tables, copies; and its Service's addresses."""

from __future__ import annotations

from torghutctl.health import pods, reading
from torghutctl.health.model import CREDIBLE_SKEW_SECONDS, Finding, Level, Moment
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts

NAME = "clickhouse"
DISK_CRITICAL = 0.08
DISK_LOW = 0.15
_GAUGES_TOO_OLD_SECONDS = 300


def judge(facts: Facts, moment: Moment) -> list[Finding]:
    """Return ClickHouse's findings."""
    exporter = pods.behind(facts, facts.names.guardrails)
    found = [item.also(*exporter) for item in reading.required(facts, NAME, sources.CLICKHOUSE_GAUGES)]
    if facts.gauges() is not None:
        found += [*_up(facts), *_disk(facts), *_readonly(facts), *_trusted(facts, moment)]
    found += [*_addresses(facts), *_engines(facts), *_operator(facts)]
    return found + pods.judge(NAME, facts, facts.clickhouse_pods(), moment)


def _finding(reason: str, level: Level, message: str, *evidence: str) -> Finding:
    return Finding(component=NAME, reason=reason, level=level, message=message, evidence=evidence)


def _up(facts: Facts) -> list[Finding]:
    states = {
        replica: found["clickhouse_up"] for replica, found in (facts.gauges() or {}).items() if "clickhouse_up" in found
    }
    away = [replica for replica, value in states.items() if value == 0]
    if not away:
        return []
    lines = tuple(f"gauge clickhouse_up of {replica}: {value:g}" for replica, value in states.items())
    if len(away) == len(states):
        return [_finding("clickhouse_down", Level.DOWN, "no replica answers", *lines)]
    message = f"{len(away)} of {len(states)} replicas do not answer; the rest serves without a copy"
    return [_finding("clickhouse_not_replicated", Level.DEGRADED, message, *lines)]


def _disk(facts: Facts) -> list[Finding]:
    ratios = facts.disk_free_ratios()
    if not ratios:
        return []
    replica, lowest = min(ratios.items(), key=lambda item: item[1])
    lines = tuple(f"gauge disk_free_ratio of {name}: {value:.3f}" for name, value in ratios.items())
    if lowest < DISK_CRITICAL:
        message = f"replica {replica} has {lowest:.1%} of its disk left; below 8 % is critical"
        return [_finding("clickhouse_disk_critical", Level.DOWN, message, *lines)]
    if lowest < DISK_LOW:
        message = f"replica {replica} has {lowest:.1%} of its disk left; below 15 % is low"
        return [_finding("clickhouse_disk_low", Level.DEGRADED, message, *lines)]
    return []


def _readonly(facts: Facts) -> list[Finding]:
    replicas = facts.readonly_replicas()
    if not replicas:
        return []
    lines = tuple(f"gauge any_replica_readonly of {name}: 1" for name in replicas)
    return [_finding("clickhouse_readonly", Level.DOWN, f"a table is read-only on {', '.join(replicas)}", *lines)]


def _trusted(facts: Facts, moment: Moment) -> list[Finding]:
    """Gauges that are missing, or whose last scrape failed or is old, say nothing of now: unknown, not healthy."""
    doubts = [f"gauge {name} of {replica}: missing" for replica, name in _missing(facts)]
    for replica, found in (facts.gauges() or {}).items():
        if found.get("last_scrape_success") == 0 and found.get("clickhouse_up") != 0:
            doubts.append(f"gauge last_scrape_success of {replica}: 0")
        scraped = found.get("last_scrape_ts_seconds")
        if scraped and not facts.is_clock_simulated:
            age = moment.now_ns / 1e9 - scraped
            if age > _GAUGES_TOO_OLD_SECONDS:
                doubts.append(f"gauge last_scrape_ts_seconds of {replica}: {age:.0f} s ago")
            elif age < -CREDIBLE_SKEW_SECONDS:
                doubts.append(f"gauge last_scrape_ts_seconds of {replica}: {-age:.0f} s ahead")
    if not doubts:
        return []
    return [_finding("unreadable", Level.UNKNOWN, "the guardrail gauges do not tell how things are now", *doubts)]


def _missing(facts: Facts) -> list[tuple[str, str]]:
    """Return what a replica that is up does not tell; a gauge without the label replica speaks for all of them."""
    found = facts.gauges() or {}
    ratios, for_all = facts.disk_free_ratios(), found.get("-", {})
    missing = []
    for replica, values in found.items():
        if values.get("clickhouse_up", for_all.get("clickhouse_up")) == 0 or (replica == "-" and len(found) > 1):
            continue
        if replica not in ratios and "-" not in ratios:
            missing.append((replica, "disk_free_ratio"))
        missing += [
            (replica, name)
            for name in ("clickhouse_up", "any_replica_readonly")
            if name not in values and name not in for_all
        ]
    return missing


def _addresses(facts: Facts) -> list[Finding]:
    slices = [
        item
        for item in facts.value(sources.ENDPOINTSLICES) or []
        if item["labels"].get("kubernetes.io/service-name") == facts.names.clickhouse_service
    ]
    if not slices or any(item["ready"] for item in slices):
        return []
    line = f"EndpointSlices of Service {facts.names.clickhouse_service}: 0 ready addresses"
    return [_finding("clickhouse_down", Level.DOWN, "its Service has no ready address", line)]


def _operator(facts: Facts) -> list[Finding]:
    """An error beside Completed is an earlier try's: the operator keeps them in the status after it has succeeded."""
    installation = facts.value(sources.CLICKHOUSE_INSTALLATION)
    if installation is None:
        return []
    status = installation["status"]
    if status != "Aborted" and not (installation["hasError"] and status != "Completed"):
        return []
    error = ", status.error is set" if installation["hasError"] else ""
    line = f"ClickHouseInstallation {installation['name']}: status {status or 'none'}{error}"
    return [_finding("clickhouse_operator_failed", Level.DEGRADED, "the operator gave up on the installation", line)]


def _engines(facts: Facts) -> list[Finding]:
    tables = facts.value(sources.CLICKHOUSE_TABLES)
    if tables is None:
        return []
    hosts = sorted({row["host"] for row in tables})
    lines = []
    for host in hosts:
        engines = {row["table"]: row["engine"] for row in tables if row["host"] == host}
        for table in ("ta_signals", "ta_microbars"):
            engine = engines.get(table)
            if engine is None:
                lines.append(f"{host}: table torghut.{table} is missing")
            elif not engine.startswith("Replicated"):
                lines.append(f"{host}: torghut.{table} has engine {engine}")
    if not lines:
        return []
    return [_finding("clickhouse_not_replicated", Level.DEGRADED, "tables are missing or not replicated", *lines)]
