"""The same rows and the same suspension, judged by the session: half days, both feeds, the edges, the change of clocks.

New York is at UTC-5 in winter and UTC-4 in summer. 27 November 2026 is a half day: regular until 13:00, post until 17:00.
"""

from __future__ import annotations

from tests.fakes import torghut_cluster as base
from tests.fakes.incidents import CONTRACT, CRD_FLINK, case
from tests.fakes.kubernetes_api import Cluster

_HALF_DAY_LAST_SECOND = "2026-11-27T17:59:59Z"
_HALF_DAY_CLOSE = "2026-11-27T18:00:00Z"
_HALF_DAY_POST = "2026-11-27T18:30:00Z"
_HALF_DAY_POST_LAST_SECOND = "2026-11-27T21:59:59Z"
_HALF_DAY_END = "2026-11-27T22:00:00Z"
_FULL_DAY_POST_LAST_SECOND = "2026-02-12T00:59:59Z"
_FULL_DAY_END = "2026-02-12T01:00:00Z"
_HALF_DAY_HOUR_OF_FULL_DAY = "2026-02-11T18:30:00Z"
_SUMMER_OPEN_AND_SIX_MINUTES = "2026-03-09T13:36:00Z"
_SUMMER_BEFORE_OPEN = "2026-03-09T13:29:59Z"
_EXTENDED_OPEN_AND_FOUR_MINUTES = "2026-02-11T09:04:00Z"
_EXTENDED_OPEN_AND_SIX_MINUTES = "2026-02-11T09:06:00Z"
_NOON_OF_HALF_DAY = "2026-11-27T17:00:00Z"
_EVENING_BEFORE = "2026-02-11T00:59:59Z"
_FRIDAY = "2026-03-06T20:59:59Z"


def _sip(cluster: Cluster) -> None:
    data = {"ALPACA_FEED": "sip"}
    cluster.put(base.CONFIGMAPS, {"kind": "ConfigMap", "metadata": {"name": "torghut-ws-config"}, "data": data})


def _rows(cluster: Cluster, newest: str) -> None:
    base.set_latest(cluster, newest, newest)


def _suspended(cluster: Cluster) -> None:
    cluster.put(
        base.FLINK, base.flink_deployment(state="suspended", job="FINISHED", lifecycle="SUSPENDED", manager="MISSING")
    )


@case("ta ta_stalled", "restart-ta", CONTRACT, at=_HALF_DAY_LAST_SECOND)
def down_iex_stale_in_the_last_second_of_a_half_day(cluster: Cluster) -> None:
    _rows(cluster, _NOON_OF_HALF_DAY)


@case(None, None, CONTRACT, at=_HALF_DAY_CLOSE)
def healthy_iex_at_the_close_of_a_half_day(cluster: Cluster) -> None:
    _rows(cluster, _NOON_OF_HALF_DAY)


@case("ta ta_stalled", "restart-ta", CONTRACT, at=_HALF_DAY_HOUR_OF_FULL_DAY)
def down_iex_stale_at_the_same_hour_of_a_full_day(cluster: Cluster) -> None:
    _rows(cluster, "2026-02-11T18:00:00Z")


@case("ta ta_stalled", "restart-ta", CONTRACT, at=_HALF_DAY_POST)
def down_sip_stale_after_the_close_of_a_half_day(cluster: Cluster) -> None:
    _sip(cluster)
    _rows(cluster, _HALF_DAY_CLOSE)


@case("ta ta_stalled", "restart-ta", CONTRACT, at=_HALF_DAY_POST_LAST_SECOND)
def down_sip_stale_in_the_last_second_of_post_on_a_half_day(cluster: Cluster) -> None:
    _sip(cluster)
    _rows(cluster, _HALF_DAY_POST)


@case(None, None, CONTRACT, at=_HALF_DAY_POST)
def healthy_sip_fresh_after_the_close_of_a_half_day(cluster: Cluster) -> None:
    _sip(cluster)


@case(None, None, CONTRACT, at=_HALF_DAY_END)
def healthy_sip_once_post_of_a_half_day_is_over(cluster: Cluster) -> None:
    _sip(cluster)
    _rows(cluster, _HALF_DAY_POST)


@case("ta ta_stalled", "restart-ta", CONTRACT, at=_FULL_DAY_POST_LAST_SECOND)
def down_sip_stale_in_the_last_second_of_post(cluster: Cluster) -> None:
    _sip(cluster)
    _rows(cluster, "2026-02-12T00:30:00Z")


@case(None, None, CONTRACT, at=_FULL_DAY_END)
def healthy_sip_once_post_is_over(cluster: Cluster) -> None:
    _sip(cluster)
    _rows(cluster, "2026-02-12T00:30:00Z")


@case(None, None, CONTRACT, at=_EXTENDED_OPEN_AND_FOUR_MINUTES)
def healthy_sip_four_minutes_into_its_day(cluster: Cluster) -> None:
    _sip(cluster)
    _rows(cluster, _EVENING_BEFORE)


@case("ta ta_stalled", "restart-ta", CONTRACT, at=_EXTENDED_OPEN_AND_SIX_MINUTES)
def down_sip_six_minutes_into_its_day(cluster: Cluster) -> None:
    _sip(cluster)
    _rows(cluster, _EVENING_BEFORE)


@case(None, None, CONTRACT, at=_SUMMER_BEFORE_OPEN)
def healthy_iex_a_second_before_the_first_summer_open(cluster: Cluster) -> None:
    _rows(cluster, _FRIDAY)


@case("ta ta_stalled", "restart-ta", CONTRACT, at=_SUMMER_OPEN_AND_SIX_MINUTES)
def down_iex_six_minutes_into_the_first_summer_session(cluster: Cluster) -> None:
    _rows(cluster, _FRIDAY)


@case("ta ta_suspended", "resume-ta", CRD_FLINK, at=_HALF_DAY_LAST_SECOND)
def degraded_suspended_on_a_half_day(cluster: Cluster) -> None:
    _suspended(cluster)


@case("ta ta_suspended", "resume-ta", CRD_FLINK, at=_HALF_DAY_POST_LAST_SECOND)
def degraded_suspended_in_post_of_a_half_day(cluster: Cluster) -> None:
    _sip(cluster)
    _suspended(cluster)


@case(None, None, CRD_FLINK, at=_HALF_DAY_END)
def healthy_suspended_once_a_half_day_is_over(cluster: Cluster) -> None:
    _sip(cluster)
    _suspended(cluster)
    _rows(cluster, _HALF_DAY_CLOSE)


@case("ta ta_suspended", "resume-ta", CRD_FLINK, at="2026-02-11T23:30:00Z")
def degraded_suspended_at_the_same_hour_of_a_full_day(cluster: Cluster) -> None:
    _suspended(cluster)


@case(None, None, CRD_FLINK, at="2026-11-26T17:00:00Z")
def healthy_suspended_on_a_holiday(cluster: Cluster) -> None:
    _suspended(cluster)


@case("ta ta_stalled", "restart-ta", CONTRACT)
def down_every_row_lies_years_ahead(cluster: Cluster) -> None:
    _rows(cluster, "2031-01-02T15:00:00Z")


@case("ta ta_stalled", "restart-ta", CONTRACT)
def down_one_row_ahead_hides_no_stall(cluster: Cluster) -> None:
    _rows(cluster, base.ago(2000))
    base.set_latest(cluster, "2031-01-02T15:00:00Z", "2031-01-02T15:00:00Z", "NVDA")


@case(None, None, CONTRACT)
def healthy_one_row_ahead_among_fresh_ones(cluster: Cluster) -> None:
    base.set_latest(cluster, "2031-01-02T15:00:00Z", "2031-01-02T15:00:00Z", "NVDA")


@case(None, None, CONTRACT)
def healthy_the_systems_clock_is_ten_minutes_ahead(cluster: Cluster) -> None:
    _rows(cluster, base.ago(-600))


@case(None, None, "Go's zero time, as an operator writes a time that was never set")
def healthy_times_that_were_never_set(cluster: Cluster) -> None:
    never = "0001-01-01T00:00:00Z"
    cluster.put(base.PODS, base.pod(base.WS_POD, base.ws_labels(), container="ws", since=never, created=never))
    cluster.put(base.DEPLOYMENTS, base.forwarder(since=never))
    cluster.put(base.ARGOCD, base.application(finished=never, health_since=never))
    cluster.put(f"{base.KNATIVE}/services", base.knative_service(since=never))
    status = base.trading_status(last_run_at=base.ago(3), last_reconcile_at=never)
    cluster.services[base.STATUS.format(base.TRADING_POD)] = (200, status)


@case("ta ta_restarting", "restart-ta", "Go's zero time, as an operator writes a time that was never set")
def degraded_restarting_since_a_time_that_was_never_set(cluster: Cluster) -> None:
    job = base.flink_deployment(job="RESTARTING")
    job["status"]["jobStatus"]["updateTime"] = "0001-01-01T00:00:00Z"
    job["status"]["reconciliationStatus"]["reconciliationTimestamp"] = -62135596800000
    job["metadata"]["creationTimestamp"] = None
    cluster.put(base.FLINK, job)
