"""The rules at their limits, and the order of causes, without a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torghut_core.market_calendar import Session
from torghut_core.rfc3339 import format_ns, parse_ns
from torghutctl.health import clickhouse, freshness, kafka, pods, trading
from torghutctl.health.causes import DOWNSTREAM, ORDER, reach, trace
from torghutctl.health.model import COMPONENTS, Finding, Level, Moment, graced, span
from torghutctl.health.reasons import POD_REASONS, REASONS
from torghutctl.health.report import settle
from torghutctl.snapshot import facts as fact_module
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts
from torghutctl.snapshot.model import Reading, Snapshot
from torghutctl.snapshot.signatures import match_signatures

NOW = parse_ns("2026-02-11T15:30:00Z")
OPEN = parse_ns("2026-02-11T14:30:00Z")
MOMENT = Moment(now_ns=NOW, session=Session.REGULAR, feed_open_since_ns=OPEN)

UP = {"clickhouse_up": 1.0, "any_replica_readonly": 0.0}


def _ago(seconds: float) -> str:
    return format_ns(NOW - int(seconds * 1e9))


def _facts(**values: Any) -> Facts:
    readings = {name: Reading(source=name, value=value) for name, value in values.items()}
    return Facts(Snapshot(observed_at_ns=NOW, readings=readings))


def _finding(component: str = "ta", reason: str = "ta_failed", level: Level = Level.DOWN, **more: Any) -> Finding:
    return Finding(component=component, reason=reason, level=level, message=reason, **more)


@pytest.mark.parametrize(("age", "level"), [(299.9, Level.INFO), (300, Level.DEGRADED), (None, Level.DEGRADED)])
def test_grace_when_state_has_this_age_then_level(age: float | None, level: Level) -> None:
    """A state younger than 300 s is info; one whose beginning is not known counts."""
    finding = _finding(reason="ta_restarting", level=Level.DEGRADED, since=None if age is None else _ago(age))
    assert level is graced(finding, MOMENT).level


def test_trace_when_upstream_cannot_be_read_then_it_explains_nothing_and_a_failure_may_explain_it() -> None:
    """Only what is known to fail is called a cause; what is not known is called neither consequence nor independent."""
    unread = {name: _finding(name, "unreadable", Level.UNKNOWN) for name in ("clickhouse", "ta", "freshness", "argocd")}
    causes = trace(unread, pending=[], is_ta_readable=False)
    assert (causes.top, causes.explained_by, causes.independent) == (unread["clickhouse"], {}, ())
    failing = {**unread, "clickhouse": _finding("clickhouse", "clickhouse_down")}
    explained = trace(failing, pending=[], is_ta_readable=False).explained_by
    assert explained == {"ta": "clickhouse", "freshness": "clickhouse"}


@pytest.mark.parametrize(
    ("ratio", "reason"),
    [
        (0.0799, "clickhouse_disk_critical"),
        (0.08, "clickhouse_disk_low"),
        (0.1499, "clickhouse_disk_low"),
        (0.15, None),
    ],
)
def test_disk_when_free_share_is_this_then_reason(ratio: float, reason: str | None) -> None:
    """Below 8 % is critical, below 15 % is low; the limits themselves are not passed."""
    facts = _facts(**{sources.CLICKHOUSE_GAUGES: {"a": {**UP, "disk_free_ratio": ratio}}})
    assert [reason] * bool(reason) == [item.reason for item in clickhouse.judge(facts, MOMENT)]


def test_disk_when_ratio_gauge_is_absent_then_bytes_decide() -> None:
    """Free and total bytes stand in for the ratio."""
    gauges = {"a": {**UP, "disk_free_bytes": 5.0, "disk_total_bytes": 100.0}}
    facts = _facts(**{sources.CLICKHOUSE_GAUGES: gauges})
    assert [item.reason for item in clickhouse.judge(facts, MOMENT)] == ["clickhouse_disk_critical"]


@pytest.mark.parametrize(
    ("engines", "reasons"),
    [
        (["ReplicatedReplacingMergeTree", "ReplicatedReplacingMergeTree"], []),
        (["ReplicatedReplacingMergeTree", "ReplacingMergeTree"], ["clickhouse_not_replicated"]),
        (["ReplicatedReplacingMergeTree"], ["clickhouse_not_replicated"]),
    ],
)
def test_engines_when_read_then_every_table_must_be_replicated(engines: list[str], reasons: list[str]) -> None:
    """A table that is missing or not Replicated on a host is named."""
    names = ("ta_signals", "ta_microbars")
    rows = [{"host": "a", "table": table, "engine": engine} for table, engine in zip(names, engines, strict=False)]
    up = {"a": {**UP, "disk_free_ratio": 0.5}}
    facts = _facts(**{sources.CLICKHOUSE_GAUGES: up, sources.CLICKHOUSE_TABLES: rows})
    assert reasons == [item.reason for item in clickhouse.judge(facts, MOMENT)]


@pytest.mark.parametrize(
    ("bars", "signals", "reasons"),
    [
        (300, 900, []),
        (301, 900, ["microbars_stale"]),
        (300, 901, ["signals_stale"]),
        (None, None, ["signals_stale", "microbars_stale"]),
    ],
)
def test_freshness_when_newest_rows_have_this_age_then_reasons(
    bars: float | None, signals: float | None, reasons: list[str]
) -> None:
    """Over 300 s for bars and over 900 s for signals; no row at all ages from the session's open."""
    row = {key: None if age is None else {"event": _ago(age)} for key, age in (("bars", bars), ("signals", signals))}
    assert reasons == [item.reason for item in freshness.judge(_facts(**{f"{sources.LATEST}A": row}), MOMENT)]


def test_freshness_when_event_is_before_the_open_then_age_counts_from_the_open() -> None:
    """Yesterday's row is 200 s old 200 s into the session."""
    moment = Moment(now_ns=OPEN + 200_000_000_000, session=Session.REGULAR, feed_open_since_ns=OPEN)
    assert moment.session_age_seconds(OPEN - 10**15) == 200
    assert Moment(now_ns=NOW, session=Session.CLOSED, feed_open_since_ns=None).session_age_seconds(0) is None


@pytest.mark.parametrize(
    ("gauges", "lines"),
    [
        ({"a": {**UP}}, ["gauge disk_free_ratio of a: missing"]),
        ({"a": {"clickhouse_up": 1.0, "disk_free_ratio": 0.5}}, ["gauge any_replica_readonly of a: missing"]),
        ({"a": {**UP, "disk_free_ratio": 0.5}, "b": {"disk_free_ratio": 0.5}},
         ["gauge clickhouse_up of b: missing", "gauge any_replica_readonly of b: missing"]),
        ({"a": {"clickhouse_up": 1.0, "disk_free_ratio": 0.5}, "-": {"any_replica_readonly": 0.0}}, []),
        ({"a": {"clickhouse_up": 0.0}, "b": {**UP, "disk_free_ratio": 0.5}}, []),
    ],
)  # fmt: skip
def test_gauges_when_one_is_missing_then_unknown(gauges: dict[str, dict[str, float]], lines: list[str]) -> None:
    """A replica that is up and does not tell its disk or its tables' state is unknown, never healthy by silence."""
    found = clickhouse.judge(_facts(**{sources.CLICKHOUSE_GAUGES: gauges}), MOMENT)
    assert lines == [line for item in found if item.reason == "unreadable" for line in item.evidence]


def test_gauges_when_latest_is_unreadable_then_staleness_is_known_and_source_is_too() -> None:
    """The gauges say that data is old even where ta/latest cannot be read; the missing source is still named."""
    stamp = (NOW - 2_000_000_000_000) / 1e9
    gauges = {"a": {"clickhouse_up": 1.0, "ta_signals_max_event_ts_seconds": stamp}}
    found = freshness.judge(_facts(**{sources.CLICKHOUSE_GAUGES: gauges}), MOMENT)
    assert [(item.reason, item.level) for item in found] == [
        ("signals_stale", Level.DEGRADED),
        ("unreadable", Level.UNKNOWN),
    ]


def _pod(state: dict[str, Any], *, restarts: int = 0, since: str, ready: str = "False", last: Any = None) -> Any:
    return fact_module.pod(
        {
            "name": "p",
            "phase": "Running",
            "created": _ago(90_000),
            "conditions": [{"type": "Ready", "status": ready, "since": since}],
            "containers": [
                {"name": "c", "isReady": ready == "True", "restarts": restarts, "state": state, "lastState": last}
            ],
        }
    )


@pytest.mark.parametrize(
    ("restarts", "age", "level"),
    [(4, 100, Level.INFO), (4, 400, Level.DOWN), (5, 100, Level.DOWN)],
)
def test_crash_loop_when_young_then_info_unless_its_restarts_outlast_the_grace(
    restarts: int, age: float, level: Level
) -> None:
    """Five restarts waited 310 s between them, however often the pod's condition flipped since."""
    state = {"kind": "waiting", "reason": "CrashLoopBackOff"}
    pod = _pod(state, restarts=restarts, since=_ago(age))
    assert [level] == [item.level for item in pods.judge("ta", _facts(), [pod], MOMENT)]


@pytest.mark.parametrize(("created", "level"), [(200, Level.INFO), (900, Level.DOWN)])
def test_crash_loop_when_pod_is_younger_than_the_grace_then_its_counter_does_not_end_it(
    created: float, level: Level
) -> None:
    """Many restarts outlast the grace by their back-off, unless the pod itself has not been there that long."""
    waiting = {"kind": "waiting", "reason": "CrashLoopBackOff"}
    pod = replace(_pod(waiting, restarts=9, since=_ago(60)), created=_ago(created))
    assert [level] == [item.level for item in pods.judge("ta", _facts(), [pod], MOMENT)]


def test_oom_when_container_is_ready_again_then_nothing() -> None:
    """A kill of yesterday is no finding of today."""
    pod = _pod(
        {"kind": "running"},
        restarts=1,
        since=_ago(9000),
        ready="True",
        last={"kind": "terminated", "reason": "OOMKilled"},
    )
    assert pods.judge("ta", _facts(), [pod], MOMENT) == []


@pytest.mark.parametrize("reason", POD_REASONS)
def test_settle_when_own_reason_and_pod_reason_are_alike_then_pod_reason_is_evidence(reason: str) -> None:
    """At the same level the component's own reason is named; a worse pod reason still is named first."""
    own, other = _finding(), _finding(reason=reason)
    assert [("ta_failed", (reason,))] == [(item.reason, item.evidence) for item in settle([other, own])]
    milder = _finding(reason="ta_restarting", level=Level.DEGRADED)
    assert [reason, "ta_restarting"] == [item.reason for item in settle([milder, other])]


@pytest.mark.parametrize(
    ("general", "specific"),
    [(general, row.name) for row in REASONS.values() for general in row.beats],
)
def test_settle_when_specific_meets_general_then_general_is_evidence(general: str, specific: str) -> None:
    """Each pair of the table, in either order of finding them."""
    component = REASONS[specific].component if REASONS[specific].component != "any" else "ta"
    found = [_finding(component, general, Level.DEGRADED), _finding(component, specific, Level.DEGRADED)]
    for order in (found, found[::-1]):
        assert [(specific, (general,))] == [(item.reason, item.evidence) for item in settle(order)]


def test_graph_when_read_then_order_goes_downstream() -> None:
    """No component comes after one that it explains."""
    assert set(ORDER) == set(COMPONENTS)
    assert all(ORDER.index(upstream) < ORDER.index(name) for upstream in DOWNSTREAM for name in reach(upstream))


LEVELS = st.sampled_from([Level.DOWN, Level.DEGRADED, Level.UNKNOWN])


@given(st.dictionaries(st.sampled_from(COMPONENTS), LEVELS, min_size=1), st.booleans())
def test_trace_when_any_components_fail_then_top_is_worst_unexplained_and_first(
    levels: dict[str, Level], readable: bool
) -> None:
    """Whatever fails: the top is not explained by anything, none unexplained is worse, and age alone is never named."""
    reasons = {"freshness": "signals_stale", "ta": "ta_failed", "kafka": "kafka_not_ready"}
    worst = {name: _finding(name, reasons.get(name, "unreadable"), level) for name, level in levels.items()}
    causes = trace(worst, pending=[], is_ta_readable=readable)
    assert causes.top is not None
    if causes.top.component != "freshness" or len(worst) == 1:
        assert causes.top.component not in causes.explained_by
    for name, upstream in causes.explained_by.items():
        assert name in reach(upstream)
        assert worst[upstream].level.weight >= worst[name].level.weight
    rivals = [item for name, item in worst.items() if name not in causes.explained_by and name != "freshness"]
    if readable and rivals:
        assert causes.top.level.weight == max(item.level.weight for item in rivals)
        assert causes.top.component != "freshness" or causes.top.level is Level.UNKNOWN


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        ("error 406: connection limit exceeded", "alpaca_connection_limit"),
        ('{"T":"error","code":402,"msg":"auth failed"}', "alpaca_auth"),
        ("SaslAuthenticationException: Authentication failed", "kafka_auth"),
        ("UnknownTopicOrPartitionException", "kafka_metadata"),
        ("TimeoutException: Timeout expired after 60000ms while awaiting InitProducerId", "kafka_unreachable"),
        ("java.io.IOException: No space left on device", "disk_full"),
        ("Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space", "disk_full"),
        ("DB::Exception: Table is in readonly mode (replica path)", "table_readonly"),
        ("s3a://bucket/checkpoints: 403 Forbidden", "storage_refused"),
        ("TypeError: Object of type UUID is not JSON serializable", "not_json_serializable"),
        ("java.lang.OutOfMemoryError: Java heap space", "out_of_memory"),
    ],
)
def test_signatures_when_text_speaks_of_a_fault_then_it_comes_first(text: str, signature: str) -> None:
    """Each known wording is recognised."""
    assert signature == match_signatures(text)[0]["signature"]


def test_signatures_when_several_then_the_last_one_seen_is_first() -> None:
    """A log's last words count more than its earlier ones."""
    text = "No space left on device\nretry\nTABLE_IS_READ_ONLY\n"
    assert [item["signature"] for item in match_signatures(text)] == ["table_readonly", "disk_full"]


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (720, "12 min"), (12_000, "3 h 20 min"), (400_000, "4 d")])
def test_span_when_shown_then_as_people_say_it(seconds: float, text: str) -> None:
    """Durations are short and in the unit that matters."""
    assert text == span(seconds)


@pytest.mark.parametrize(
    ("status", "has_error", "is_failed"),
    [
        ("Aborted", False, True),
        ("InProgress", True, True),
        (None, True, True),
        ("InProgress", False, False),
        ("Completed", True, False),
        ("Completed", False, False),
    ],
)
def test_operator_when_installation_says_this_then_failed_or_not(
    status: str | None, has_error: bool, is_failed: bool
) -> None:
    """An operator that gave up is named; an old error beside Completed is none."""
    installation = {"name": "torghut-clickhouse", "status": status, "hasError": has_error}
    gauges = {"a": {**UP, "disk_free_ratio": 0.5}}
    facts = _facts(**{sources.CLICKHOUSE_GAUGES: gauges, sources.CLICKHOUSE_INSTALLATION: installation})
    assert ["clickhouse_operator_failed"] * is_failed == [item.reason for item in clickhouse.judge(facts, MOMENT)]


@pytest.mark.parametrize(
    ("conditions", "levels"),
    [
        ([{"type": "Ready", "status": "True"}], []),
        ([{"type": "ReconciliationPaused", "status": "True"}], []),
        ([{"type": "Warning", "status": "True"}], [Level.INFO]),
        ([], [Level.INFO]),
        ([{"type": "Ready", "status": "False"}, {"type": "ReconciliationPaused", "status": "True"}], [Level.DOWN]),
        ([{"type": "NotReady", "status": "True", "since": _ago(301)}], [Level.DOWN]),
        ([{"type": "NotReady", "status": "True", "since": _ago(299)}], [Level.INFO]),
    ],
)
def test_kafka_when_conditions_are_these_then_levels(conditions: list[dict[str, Any]], levels: list[Level]) -> None:
    """Silence and a paused reconciliation are no failure; what is said to be one counts after the grace."""
    facts = _facts(**{sources.KAFKA_CLUSTER: {"name": "kafka", "conditions": conditions}})
    assert levels == [item.level for item in kafka.judge(facts, MOMENT)]


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"Ready": ("False", "RevisionFailed")}, "trading_revision_failed"),
        ({"Ready": ("False", "X"), "ConfigurationsReady": ("False", "X")}, "trading_revision_failed"),
        ({"Ready": ("False", "X"), "RoutesReady": ("False", "X")}, "trading_route_not_ready"),
        ({"Ready": ("Unknown", "X")}, "trading_route_not_ready"),
    ],
)
def test_route_when_newest_revision_is_ready_then_it_is_blamed_unless_the_service_blames_the_revision(
    conditions: dict[str, tuple[str, str]], reason: str
) -> None:
    """The Service's own words tell a failed configuration from a route that is not ready."""
    states = [{"type": key, "status": status, "reason": why} for key, (status, why) in conditions.items()]
    service = {"newestCreated": "torghut-1", "newestReady": "torghut-1", "conditions": states}
    revision = {"name": "torghut-1", "created": None, "conditions": [{"type": "Ready", "status": "True"}]}
    facts = _facts(**{sources.TRADING_SERVICE: service, sources.TRADING_REVISIONS: [revision]})
    assert reason in [item.reason for item in trading.judge(facts, MOMENT)]


def test_age_when_the_feed_is_late_by_design_then_counted_from_its_delay() -> None:
    """A quarter of an hour is no age for delayed_sip; the session it brings opens that much later."""
    delayed = Moment(now_ns=NOW, session=Session.REGULAR, feed_open_since_ns=OPEN, feed_delay_seconds=900)
    assert delayed.session_age_seconds(NOW - 900 * 10**9) == 0
    assert delayed.session_age_seconds(NOW - 1000 * 10**9) == 100
    night = Moment(now_ns=NOW, session=Session.CLOSED, feed_open_since_ns=OPEN)
    assert (night.is_closed, Moment(now_ns=NOW, session=Session.CLOSED, feed_open_since_ns=None).is_closed) == (
        False,
        True,
    )
