"""Several faults at once, each with the one cause that must be named, and noisy systems that are healthy."""

from __future__ import annotations

from tests.fakes import torghut_cluster as base
from tests.fakes.incidents import (
    CONTRACT,
    CORE,
    CRD_ARGO,
    CRD_FLINK,
    CRD_KNATIVE,
    CRD_STRIMZI,
    add_completeness,
    add_old_revision_pod,
    add_scheduler,
    case,
    crash,
    fail_job,
    kafka_not_ready,
    keeper_down,
    newest_fails,
    postgres_down,
    route_not_ready,
    set_gauges,
    stale,
    status_of,
    stop_forwarder,
)
from tests.fakes.kubernetes_api import Cluster
from tests.fakes.torghut_cluster import ARGOCD, FLINK, TRADING_POD, WS_POD, ago

_NIGHT = "2026-02-11T03:00:00Z"
_SATURDAY = "2026-02-14T15:30:00Z"
_HOLIDAY = "2026-02-16T15:30:00Z"
_AFTER_HALF_DAY = "2026-11-27T18:30:00Z"
_BEFORE_OPEN = "2026-02-11T11:00:00Z"
_OPENING = "2026-02-11T14:32:00Z"


@case("kafka kafka_not_ready", "kafka-recovery", CRD_STRIMZI, follows=("forwarder", "ta", "freshness"))
def down_kafka_takes_forwarder_and_ta(cluster: Cluster) -> None:
    kafka_not_ready(cluster)
    stop_forwarder(cluster, "kafka_produce")
    fail_job(cluster, "TimeoutException: Timeout expired awaiting InitProducerId")
    stale(cluster, 2000)


@case("clickhouse clickhouse_disk_critical", "suspend-ta", CRD_FLINK, follows=("ta", "freshness"))
def down_full_disk_fails_the_job(cluster: Cluster) -> None:
    set_gauges(cluster, free=(0.01, 0.02))
    fail_job(cluster, "No space left on device")
    stale(cluster, 2000)


@case("keeper keeper_down", "clickhouse-recovery", CORE, follows=("clickhouse", "ta"))
def down_keeper_makes_tables_readonly(cluster: Cluster) -> None:
    keeper_down(cluster)
    set_gauges(cluster, readonly=1)
    fail_job(cluster, "TABLE_IS_READ_ONLY")


@case("forwarder alpaca_406_second_connection", "restart-ws", CONTRACT, follows=("freshness",))
def down_406_and_stale_data(cluster: Cluster) -> None:
    stop_forwarder(cluster, "alpaca_406_second_connection")
    stale(cluster, 1500)


@case("postgres postgres_down", "pause-trading", CRD_KNATIVE, follows=("trading",))
def down_postgres_takes_trading(cluster: Cluster) -> None:
    postgres_down(cluster)
    newest_fails(cluster, old_serves=False, log="OperationalError: connection refused")


@case("clickhouse clickhouse_down", "clickhouse-recovery", CONTRACT, follows=("ta", "trading"))
def down_clickhouse_takes_ta_and_trading(cluster: Cluster) -> None:
    set_gauges(cluster, up=(0, 0), success=0)
    fail_job(cluster, "Connection refused")
    status_of(cluster, last_error="clickhouse timed out")


@case("ta ta_failed_storage", "rotate-credentials", CRD_FLINK, follows=("freshness",))
def down_storage_and_argocd_apart(cluster: Cluster) -> None:
    fail_job(cluster, "S3Exception: The AWS Access Key Id is invalid (InvalidAccessKeyId)")
    cluster.put(ARGOCD, base.application(sync="OutOfSync"))
    stale(cluster, 2000)


@case("trading trading_two_writers", "pause-trading", CRD_KNATIVE)
def down_two_writers_outweigh_a_degraded_ta(cluster: Cluster) -> None:
    add_old_revision_pod(cluster)
    cluster.put(FLINK, base.flink_deployment(job="RESTARTING", updated=ago(900)))


@case("ta ta_failed", "restart-ta", CRD_FLINK)
def down_job_failed_beside_a_second_forwarder(cluster: Cluster) -> None:
    fail_job(cluster, "java.lang.IllegalStateException")
    cluster.put(base.DEPLOYMENTS, base.forwarder(replicas=2, ready=1))


@case("clickhouse clickhouse_readonly", "restore-replica", CRD_FLINK, follows=("ta",))
def down_readonly_fails_the_job(cluster: Cluster) -> None:
    set_gauges(cluster, readonly=1)
    fail_job(cluster, "Table is in readonly mode")


@case("kafka kafka_not_ready", "kafka-recovery", CRD_STRIMZI)
def down_kafka_and_alpaca_auth_are_apart(cluster: Cluster) -> None:
    kafka_not_ready(cluster)
    stop_forwarder(cluster, "alpaca_auth")


@case("clickhouse clickhouse_disk_critical", "suspend-ta", CRD_FLINK, follows=("ta",))
def down_disk_before_stalled_job(cluster: Cluster) -> None:
    set_gauges(cluster, free=(0.03, 0.04))
    stale(cluster, 1200)


@case("forwarder alpaca_auth", "rotate-credentials", CORE)
def down_auth_outweighs_its_own_crash_loop(cluster: Cluster) -> None:
    crash(cluster, WS_POD, base.ws_labels(), container="ws")
    cluster.put(base.DEPLOYMENTS, base.forwarder(ready=0, available="False", since=ago(1800)))
    for previous in (False, True):
        cluster.logs[WS_POD, "ws", previous] = "alpaca stream: 402 auth failed\n"


@case("ta ta_suspended", "resume-ta", CRD_FLINK, follows=("freshness",))
def degraded_suspended_explains_stale_data(cluster: Cluster) -> None:
    cluster.put(
        FLINK, base.flink_deployment(state="suspended", job="FINISHED", lifecycle="SUSPENDED", manager="MISSING")
    )
    stale(cluster, 5000)


@case("postgres postgres_degraded", "pause-trading", CONTRACT, follows=("trading",))
def degraded_postgres_explains_a_loop_error(cluster: Cluster) -> None:
    cluster.put(base.POSTGRES, base.cnpg_cluster(phase="Failing over", ready=1, instances=2))
    status_of(cluster, last_error="OperationalError: server closed the connection")


@case("ta ta_restarting", "restart-ta", CRD_FLINK)
def degraded_restarting_within_grace_and_stale(cluster: Cluster) -> None:
    cluster.put(FLINK, base.flink_deployment(job="RESTARTING", updated=ago(60)))
    stale(cluster, 1000)


@case("forwarder unreadable", "access", CONTRACT)
def degraded_stale_with_forwarder_unreadable(cluster: Cluster) -> None:
    stale(cluster, 1000)
    del cluster.services[base.READYZ]


@case("trading live_trading_enabled", "pause-trading", CONTRACT)
def down_live_beside_a_revision_that_fails(cluster: Cluster) -> None:
    newest_fails(cluster, old_serves=True)
    status_of(cluster, mode="live", live_enabled=True)


@case(None, None, CORE)
def healthy_forwarder_rollout(cluster: Cluster) -> None:
    young = base.pod(
        "torghut-ws-8a1b-young", {"app": "torghut-ws"}, container="ws", ready=False, since=ago(40), created=ago(40)
    )
    cluster.put(base.PODS, young)
    old = base.pod(WS_POD, base.ws_labels(), container="ws", ready=False, since=ago(45), deleting=ago(45))
    cluster.put(base.PODS, old)
    cluster.put(base.DEPLOYMENTS, base.forwarder(ready=0, available="False", since=ago(45)))


@case(None, None, CRD_FLINK)
def healthy_ta_upgrade_under_way(cluster: Cluster) -> None:
    changed = base.flink_deployment(
        job="RECONCILING",
        lifecycle="UPGRADING",
        manager="DEPLOYING",
        reconciliation="UPGRADING",
        reconciled=ago(90),
        updated=ago(95),
    )
    cluster.put(FLINK, changed)


@case(None, None, CRD_KNATIVE)
def healthy_trading_rollout(cluster: Cluster) -> None:
    newest_fails(cluster, old_serves=True, since=ago(70), state=base.waiting("ContainerCreating"))


@case(None, None, CRD_KNATIVE)
def healthy_handover_between_revisions(cluster: Cluster) -> None:
    add_old_revision_pod(cluster)
    cluster.put(f"{base.KNATIVE}/revisions", base.revision(7, since=ago(60), created=ago(100)))


@case(None, None, CONTRACT, at=_NIGHT)
def healthy_at_night_with_old_rows(cluster: Cluster) -> None:
    base.set_latest(cluster, "2026-02-10T21:00:00Z", "2026-02-10T21:00:00Z")


@case(None, None, CONTRACT, at=_SATURDAY)
def healthy_on_a_weekend(cluster: Cluster) -> None:
    base.set_latest(cluster, "2026-02-13T21:00:00Z", "2026-02-13T21:00:00Z")


@case(None, None, CONTRACT, at=_HOLIDAY)
def healthy_on_a_holiday(cluster: Cluster) -> None:
    base.set_latest(cluster, "2026-02-13T21:00:00Z", "2026-02-13T21:00:00Z")


@case(None, None, CONTRACT, at=_AFTER_HALF_DAY)
def healthy_after_a_half_day(cluster: Cluster) -> None:
    base.set_latest(cluster, "2026-11-27T18:00:00Z", "2026-11-27T18:00:00Z")


@case(None, None, CONTRACT, at=_OPENING)
def healthy_two_minutes_into_the_session(cluster: Cluster) -> None:
    base.set_latest(cluster, "2026-02-10T21:00:00Z", "2026-02-10T21:00:00Z")


@case(None, None, CRD_FLINK, at=_NIGHT)
def healthy_planned_suspension(cluster: Cluster) -> None:
    cluster.put(
        FLINK, base.flink_deployment(state="suspended", job="FINISHED", lifecycle="SUSPENDED", manager="MISSING")
    )


@case(None, None, CRD_KNATIVE)
def healthy_old_revisions_at_zero(cluster: Cluster) -> None:
    for number in (3, 4, 5):
        cluster.put(f"{base.KNATIVE}/revisions", base.revision(number, ready="Unknown", reason="NoTraffic"))


@case(None, None, CONTRACT)
def healthy_one_late_symbol(cluster: Cluster) -> None:
    base.set_latest(cluster, ago(4000), ago(4000), "NVDA")


@case(None, None, CORE)
def healthy_one_restart_long_ago(cluster: Cluster) -> None:
    labels = base.revision_labels(7)
    last = base.terminated("OOMKilled", 137)
    cluster.put(base.PODS, base.pod(TRADING_POD, labels, container="user-container", restarts=1, last_state=last))
    cluster.logs[TRADING_POD, "user-container", True] = "Object of type UUID is not JSON serializable\n"


@case(None, None, CONTRACT)
def healthy_paused_on_purpose(cluster: Cluster) -> None:
    status_of(cluster, enabled=False, running=False, kill_switch_enabled=True)


@case(None, None, CONTRACT, live=True)
def healthy_live_where_declared(cluster: Cluster) -> None:
    status_of(cluster, mode="live", live_enabled=True)


@case(None, None, CRD_ARGO)
def healthy_sync_under_way(cluster: Cluster) -> None:
    cluster.put(ARGOCD, base.application(sync="OutOfSync", operation="Running", finished=ago(20)))


@case(None, None, CORE)
def healthy_finished_job_pods(cluster: Cluster) -> None:
    done = base.pod("torghut-db-1-initdb-x", {"cnpg.io/cluster": "torghut-db"}, phase="Succeeded", ready=False)
    cluster.put(base.PODS, done)


@case(None, None, "API server answers of optional resources")
def healthy_without_optional_kinds(cluster: Cluster) -> None:
    for collection in (f"{base.KAFKA}/kafkatopics", f"{base.KAFKA}/kafkausers", base.BUDGETS, base.KEEPER):
        cluster.collections.discard(collection)
        cluster.objects = {key: item for key, item in cluster.objects.items() if key[0] != collection}


@case(None, None, "Deployment torghut-scheduler, port 8183")
def healthy_scheduler_runs_the_loop(cluster: Cluster) -> None:
    add_scheduler(cluster)
    cluster.services[base.STATUS.format(TRADING_POD)] = (503, {"detail": "scheduler_runtime_unavailable"})


@case(None, None, CRD_KNATIVE)
def healthy_old_revision_terminates(cluster: Cluster) -> None:
    add_old_revision_pod(cluster, deleting=ago(200))


@case("trading trading_crash_json", "rollback-image", CRD_KNATIVE)
def degraded_json_crash_counts_at_once(cluster: Cluster) -> None:
    newest_fails(
        cluster, old_serves=True, since=ago(70), log="TypeError: Object of type UUID is not JSON serializable\n"
    )


@case(None, None, CONTRACT, at=_BEFORE_OPEN)
def healthy_iex_before_the_open(cluster: Cluster) -> None:
    base.set_latest(cluster, "2026-02-10T21:00:00Z", "2026-02-10T21:00:00Z")


@case("ta ta_stalled", "restart-ta", CONTRACT, at=_BEFORE_OPEN)
def down_sip_before_the_open(cluster: Cluster) -> None:
    data = {"ALPACA_FEED": "sip"}
    cluster.put(base.CONFIGMAPS, {"kind": "ConfigMap", "metadata": {"name": "torghut-ws-config"}, "data": data})
    base.set_latest(cluster, "2026-02-11T01:00:00Z", "2026-02-11T01:00:00Z")


@case("ta ta_suspended", "resume-ta", CRD_FLINK, at=_BEFORE_OPEN)
def degraded_still_suspended_before_the_open(cluster: Cluster) -> None:
    cluster.put(
        FLINK, base.flink_deployment(state="suspended", job="FINISHED", lifecycle="SUSPENDED", manager="MISSING")
    )


@case("forwarder forwarder_not_ready", "restart-ws", CORE)
def degraded_forwarder_within_grace_explains_stale_data(cluster: Cluster) -> None:
    cluster.services[base.READYZ] = base.readyz("unknown")
    cluster.put(base.PODS, base.pod(WS_POD, base.ws_labels(), container="ws", ready=False, since=ago(100)))
    cluster.put(base.DEPLOYMENTS, base.forwarder(ready=0, available="False", since=ago(100)))
    stale(cluster, 400)


@case("postgres unreadable", "access", "CloudNativePG phases differ by version")
def unknown_postgres_phase_is_a_new_text(cluster: Cluster) -> None:
    cluster.put(base.POSTGRES, base.cnpg_cluster(phase="Pondering its existence"))


@case(None, None, CORE)
def healthy_image_pull_within_grace(cluster: Cluster) -> None:
    state = base.waiting("ErrImagePull")
    crash(
        cluster,
        "torghut-db-2",
        {"cnpg.io/cluster": "torghut-db"},
        state=state,
        restarts=0,
        last_state={},
        since=ago(60),
    )


@case("keeper keeper_down", "clickhouse-recovery", "EndpointSlice API", follows=("clickhouse",))
def down_keeper_service_without_address(cluster: Cluster) -> None:
    cluster.remove(base.PODS, "chk-torghut-keeper-0-0-0")
    labels = {"kubernetes.io/service-name": "keeper-torghut-keeper"}
    cluster.put(base.SLICES, {"metadata": {"name": "keeper-torghut-keeper-x", "labels": labels}, "endpoints": None})
    set_gauges(cluster, readonly=1)


@case("forwarder alpaca_406_second_connection", "restart-ws", CONTRACT)
def down_two_forwarders_and_the_second_gets_406(cluster: Cluster) -> None:
    cluster.put(base.DEPLOYMENTS, base.forwarder(replicas=2, ready=1))
    second = base.pod("torghut-ws-7d9f-second", base.ws_labels(), container="ws", ready=False, since=ago(600))
    cluster.put(base.PODS, second)
    cluster.services["pods/torghut-ws-7d9f-second:8080/readyz"] = base.readyz("alpaca_406_second_connection")


@case("trading trading_two_writers", "pause-trading", CRD_KNATIVE)
def down_two_writers_behind_a_failed_rollout(cluster: Cluster) -> None:
    add_old_revision_pod(cluster)
    newest_fails(cluster, old_serves=True)


@case(None, None, CRD_KNATIVE)
def healthy_newest_revision_still_starts(cluster: Cluster) -> None:
    newest_fails(cluster, old_serves=True, since=ago(130), state={"running": {"startedAt": ago(120)}})


@case("kafka kafka_not_ready", "kafka-recovery", CRD_FLINK, apart=("ta",))
def down_kafka_beside_a_job_that_lost_its_store(cluster: Cluster) -> None:
    kafka_not_ready(cluster)
    fail_job(cluster, "AmazonS3Exception: Access Denied")


@case("kafka kafka_not_ready", "kafka-recovery", CRD_FLINK, follows=("ta",))
def down_kafka_beside_a_full_disk_that_failed_the_job(cluster: Cluster) -> None:
    kafka_not_ready(cluster)
    set_gauges(cluster, free=(0.01, 0.02))
    fail_job(cluster, "No space left on device")


@case("trading trading_revision_failed", "rollback-image", CRD_KNATIVE)
def down_trading_not_ready_and_no_older_revision(cluster: Cluster) -> None:
    service = base.knative_service(ready="False", reason="RevisionFailed", since=ago(900))
    cluster.put(f"{base.KNATIVE}/services", service)


@case("forwarder feed_silent", "restart-ws", CORE)
def down_silent_feed_over_a_paused_rollout(cluster: Cluster) -> None:
    stop_forwarder(cluster, "feed_silent")
    deployment = base.forwarder(replicas=2, ready=0, available="False", since=ago(1200))
    deployment["spec"]["paused"] = True
    cluster.put(base.DEPLOYMENTS, deployment)


@case("forwarder forwarder_paused", "reconcile", CORE)
def degraded_paused_rollout_over_what_follows_from_it(cluster: Cluster) -> None:
    stop_forwarder(cluster, "unknown")
    deployment = base.forwarder(replicas=2, ready=0, available="False", since=ago(1200))
    deployment["spec"]["paused"] = True
    cluster.put(base.DEPLOYMENTS, deployment)


@case(None, None, CRD_KNATIVE)
def healthy_route_not_ready_for_a_moment(cluster: Cluster) -> None:
    route_not_ready(cluster, since=ago(100))


@case("clickhouse clickhouse_down", "clickhouse-recovery", CONTRACT)
def down_clickhouse_over_its_operator_that_gave_up(cluster: Cluster) -> None:
    set_gauges(cluster, up=(0, 0), success=0)
    status = {"status": "Aborted", "hosts": 2, "errors": ["reconcile failed"]}
    cluster.put(base.CLICKHOUSE, {"metadata": {"name": "torghut-clickhouse"}, "status": status})


@case(None, None, "Altinity CRD, status words")
def healthy_clickhouse_operator_kept_an_old_error(cluster: Cluster) -> None:
    status = {"status": "Completed", "hosts": 2, "hostsCompleted": 2, "errors": ["an earlier try failed"]}
    cluster.put(base.CLICKHOUSE, {"metadata": {"name": "torghut-clickhouse"}, "status": status})


@case(None, None, CONTRACT)
def healthy_trades_complete_enough(cluster: Cluster) -> None:
    add_completeness(cluster, 0.9, 1.002)


@case(None, None, CRD_STRIMZI)
def healthy_kafka_reconciliation_paused(cluster: Cluster) -> None:
    state = base.condition("ReconciliationPaused", "True", since=ago(7000))
    kafka = {"kind": "Kafka", "metadata": {"name": "kafka"}, "status": {"conditions": [state]}}
    cluster.put(f"{base.KAFKA}/kafkas", kafka)


@case(None, None, CRD_STRIMZI)
def healthy_kafka_not_ready_for_a_moment(cluster: Cluster) -> None:
    state = base.condition("Ready", "False", reason="Creating", since=ago(100))
    kafka = {"kind": "Kafka", "metadata": {"name": "kafka"}, "status": {"conditions": [state]}}
    cluster.put(f"{base.KAFKA}/kafkas", kafka)


@case("freshness unreadable", "access", CORE)
def unknown_visuals_cannot_pull_its_image(cluster: Cluster) -> None:
    labels = {"app": "torghut-visuals"}
    state = base.waiting("ImagePullBackOff")
    crash(cluster, base.VISUALS_POD, labels, container="visuals", state=state, restarts=0, last_state={})
    cluster.services = {key: body for key, body in cluster.services.items() if "torghut-visuals" not in key}


@case("clickhouse unreadable", "access", CORE)
def unknown_guardrails_exporter_keeps_crashing(cluster: Cluster) -> None:
    crash(cluster, base.EXPORTER_POD, {"app": "torghut-clickhouse-guardrails-exporter"}, container="exporter")
    del cluster.services[base.GAUGES]


@case("clickhouse unreadable", "access", CORE)
def unknown_guardrails_exporter_is_scaled_to_nothing(cluster: Cluster) -> None:
    cluster.remove(base.PODS, base.EXPORTER_POD)
    del cluster.services[base.GAUGES]


@case(None, None, CORE)
def healthy_second_visuals_pod_crashes(cluster: Cluster) -> None:
    crash(cluster, "torghut-visuals-5c4d-wwww", {"app": "torghut-visuals"}, container="visuals")
