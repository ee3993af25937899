"""Single faults: at least one for every reason of the contract."""

from __future__ import annotations

from tests.fakes import torghut_cluster as base
from tests.fakes.incidents import (
    CONTRACT,
    CORE,
    CRD_ARGO,
    CRD_CNPG,
    CRD_FLINK,
    CRD_KNATIVE,
    CRD_STRIMZI,
    SCHEDULER_POD,
    add_completeness,
    add_old_revision_pod,
    add_scheduler,
    case,
    crash,
    fail_job,
    flink_exception,
    kafka_not_ready,
    keeper_down,
    newest_fails,
    postgres_down,
    replay_group,
    route_not_ready,
    set_gauges,
    stale,
    status_of,
    stop_forwarder,
)
from tests.fakes.kubernetes_api import Cluster
from tests.fakes.torghut_cluster import ARGOCD, FLINK, KAFKA, POSTGRES, TRADING_POD, WS_POD, ago


@case("forwarder alpaca_406_second_connection", "restart-ws", CONTRACT)
def down_forwarder_406(cluster: Cluster) -> None:
    stop_forwarder(cluster, "alpaca_406_second_connection")


@case("forwarder alpaca_auth", "rotate-credentials", CONTRACT)
def down_forwarder_auth(cluster: Cluster) -> None:
    stop_forwarder(cluster, "alpaca_auth")


@case("forwarder kafka_auth", "kafka-recovery", CONTRACT)
def down_forwarder_kafka_auth(cluster: Cluster) -> None:
    stop_forwarder(cluster, "kafka_auth")


@case("forwarder kafka_metadata", "kafka-recovery", CONTRACT)
def down_forwarder_kafka_metadata(cluster: Cluster) -> None:
    stop_forwarder(cluster, "kafka_metadata")


@case("forwarder kafka_produce", "kafka-recovery", CONTRACT)
def down_forwarder_kafka_produce(cluster: Cluster) -> None:
    stop_forwarder(cluster, "kafka_produce")


@case("forwarder alpaca_config", "forwarder-config", CONTRACT)
def down_forwarder_configuration(cluster: Cluster) -> None:
    stop_forwarder(cluster, "alpaca_config")


@case("forwarder feed_silent", "restart-ws", CONTRACT)
def down_forwarder_silent_feed(cluster: Cluster) -> None:
    stop_forwarder(cluster, "feed_silent")


@case("forwarder alpaca_slow_client", "forwarder-config", CONTRACT)
def degraded_forwarder_slow_client(cluster: Cluster) -> None:
    stop_forwarder(cluster, "alpaca_slow_client")


@case("forwarder alpaca_symbol_limit", "forwarder-config", CONTRACT)
def degraded_forwarder_symbol_limit(cluster: Cluster) -> None:
    status, body = base.readyz()
    cluster.services[f"pods/{base.WS_POD}:8080/readyz"] = (status, {**body, "error_class": "alpaca_symbol_limit"})


@case("forwarder forwarder_not_ready", "restart-ws", CONTRACT)
def degraded_forwarder_unknown_class(cluster: Cluster) -> None:
    stop_forwarder(cluster, "unknown")


@case("forwarder forwarder_replicas", "restart-ws", CORE)
def degraded_forwarder_two_pods(cluster: Cluster) -> None:
    cluster.put(base.DEPLOYMENTS, base.forwarder(replicas=2, ready=2))
    cluster.put(base.PODS, base.pod("torghut-ws-7d9f-second", base.ws_labels(), container="ws"))
    cluster.services["pods/torghut-ws-7d9f-second:8080/readyz"] = base.readyz()


@case("forwarder forwarder_replicas", "restart-ws", CORE)
def degraded_forwarder_scaled_to_zero(cluster: Cluster) -> None:
    cluster.put(base.DEPLOYMENTS, base.forwarder(replicas=0, ready=0))
    cluster.remove(base.PODS, WS_POD)


@case("forwarder forwarder_paused", "reconcile", CORE)
def degraded_forwarder_rollout_paused(cluster: Cluster) -> None:
    deployment = base.forwarder()
    deployment["spec"]["paused"] = True
    cluster.put(base.DEPLOYMENTS, deployment)


@case("forwarder crash_loop", "pod-failure", CORE)
def down_forwarder_crash_loop(cluster: Cluster) -> None:
    crash(cluster, WS_POD, base.ws_labels(), container="ws")
    cluster.put(base.DEPLOYMENTS, base.forwarder(ready=0, available="False", since=ago(1800)))


@case("forwarder missing_config", "pod-failure", CORE)
def down_forwarder_secret_missing(cluster: Cluster) -> None:
    state = base.waiting("CreateContainerConfigError", 'secret "torghut-alpaca" not found')
    crash(cluster, WS_POD, base.ws_labels(), container="ws", state=state, restarts=0, last_state={}, phase="Pending")


@case("forwarder image_pull", "pod-failure", CORE)
def down_forwarder_image_pull(cluster: Cluster) -> None:
    state = base.waiting("ErrImagePull", "manifest unknown")
    crash(cluster, WS_POD, base.ws_labels(), container="ws", state=state, restarts=0, last_state={}, phase="Pending")


@case("forwarder oom_killed", "pod-failure", CORE)
def down_forwarder_oom(cluster: Cluster) -> None:
    crash(cluster, WS_POD, base.ws_labels(), container="ws", last_state=base.terminated("OOMKilled", 137))


@case("forwarder unschedulable", "pod-failure", CORE)
def down_forwarder_unschedulable(cluster: Cluster) -> None:
    scheduled = base.condition("PodScheduled", "False", reason="Unschedulable", since=ago(900))
    crash(cluster, WS_POD, base.ws_labels(), phase="Pending", scheduled=scheduled, created=ago(900))


@case("ta ta_failed_disk_full", "suspend-ta", CRD_FLINK)
def down_ta_disk_full(cluster: Cluster) -> None:
    fail_job(cluster, "DB::Exception: Cannot reserve 1.00 MiB, not enough space: (NOT_ENOUGH_SPACE)")


@case("ta ta_failed_readonly_table", "restore-replica", CRD_FLINK)
def down_ta_readonly(cluster: Cluster) -> None:
    fail_job(cluster, "Code: 242. DB::Exception: Table is in readonly mode (TABLE_IS_READ_ONLY)")


@case("ta ta_failed_kafka", "kafka-recovery", CRD_FLINK)
def down_ta_kafka(cluster: Cluster) -> None:
    fail_job(cluster)
    flink_exception(cluster, "org.apache.kafka.common.errors.TimeoutException: Timeout expired awaiting InitProducerId")


@case("ta ta_failed_storage", "rotate-credentials", CRD_FLINK)
def down_ta_storage(cluster: Cluster) -> None:
    fail_job(cluster, "com.amazonaws.services.s3.model.AmazonS3Exception: Access Denied (Status Code: 403)")


@case("ta ta_failed", "restart-ta", CRD_FLINK)
def down_ta_failed(cluster: Cluster) -> None:
    fail_job(cluster, "java.lang.NullPointerException")


@case("ta ta_failed", "restart-ta", CRD_FLINK)
def down_ta_job_finished(cluster: Cluster) -> None:
    cluster.put(FLINK, base.flink_deployment(job="FINISHED"))


@case("ta ta_failed_disk_full", "suspend-ta", CRD_FLINK)
def down_ta_status_error_names_disk(cluster: Cluster) -> None:
    fail_job(cluster, error='{"type":"x","message":"No space left on device"}')


@case("ta ta_spec_error", "reconcile", CRD_FLINK)
def down_ta_spec_error(cluster: Cluster) -> None:
    error = '{"type":"org.apache.flink.kubernetes.operator.exception.ReconciliationException","message":"bad spec"}'
    cluster.put(FLINK, base.flink_deployment(error=error))


@case("ta ta_spec_error", "reconcile", CRD_FLINK)
def down_ta_rolled_back(cluster: Cluster) -> None:
    cluster.put(FLINK, base.flink_deployment(lifecycle="ROLLED_BACK"))


@case("ta ta_spec_error", "reconcile", CRD_FLINK)
def down_ta_manager_error(cluster: Cluster) -> None:
    cluster.put(FLINK, base.flink_deployment(manager="ERROR", job="RECONCILING"))


@case("ta ta_restarting", "restart-ta", CRD_FLINK)
def degraded_ta_restarting(cluster: Cluster) -> None:
    cluster.put(FLINK, base.flink_deployment(job="RESTARTING", lifecycle="DEPLOYED", updated=ago(600)))


@case("ta ta_stalled", "restart-ta", CRD_FLINK)
def down_ta_stalled(cluster: Cluster) -> None:
    stale(cluster, 1000)


@case("ta ta_stalled", "restart-ta", CRD_FLINK)
def down_ta_bars_alone_stalled(cluster: Cluster) -> None:
    base.set_latest(cluster, ago(400), ago(400))


@case("ta ta_suspended", "resume-ta", CRD_FLINK)
def degraded_ta_suspended_in_session(cluster: Cluster) -> None:
    cluster.put(
        FLINK, base.flink_deployment(state="suspended", job="FINISHED", lifecycle="SUSPENDED", manager="MISSING")
    )


@case("ta ta_replay_left_on", "replay-ta", "TA ConfigMap keys of this system")
def degraded_ta_replay_left_on(cluster: Cluster) -> None:
    replay_group(cluster)


@case("ta crash_loop", "pod-failure", CORE)
def degraded_ta_taskmanager_crashes(cluster: Cluster) -> None:
    crash(cluster, base.TASK_MANAGER, {"app": "torghut-ta"}, container="flink-main-container")


@case("clickhouse clickhouse_down", "clickhouse-recovery", CONTRACT)
def down_clickhouse_up_zero(cluster: Cluster) -> None:
    set_gauges(cluster, up=(0, 0), success=0)


@case("clickhouse clickhouse_down", "clickhouse-recovery", "EndpointSlice API")
def down_clickhouse_no_address(cluster: Cluster) -> None:
    labels = {"kubernetes.io/service-name": "torghut-clickhouse"}
    endpoints = [{"addresses": ["10.0.0.1"], "conditions": {"ready": False}}]
    cluster.put(base.SLICES, {"metadata": {"name": "torghut-clickhouse-x", "labels": labels}, "endpoints": endpoints})


@case("clickhouse clickhouse_not_replicated", "clickhouse-recovery", CONTRACT)
def degraded_clickhouse_one_replica_away(cluster: Cluster) -> None:
    set_gauges(cluster, up=(1, 0))


@case("clickhouse clickhouse_disk_critical", "suspend-ta", CONTRACT)
def down_clickhouse_disk_critical(cluster: Cluster) -> None:
    set_gauges(cluster, free=(0.5, 0.07))


@case("clickhouse clickhouse_disk_low", "suspend-ta", CONTRACT)
def degraded_clickhouse_disk_low(cluster: Cluster) -> None:
    set_gauges(cluster, free=(0.14, 0.5))


@case("clickhouse clickhouse_operator_failed", "clickhouse-recovery", "Altinity CRD, status words")
def degraded_clickhouse_operator_gave_up(cluster: Cluster) -> None:
    status = {"status": "Aborted", "hosts": 2, "hostsCompleted": 1, "errors": ["reconcile failed"]}
    cluster.put(base.CLICKHOUSE, {"metadata": {"name": "torghut-clickhouse"}, "status": status})


@case("clickhouse clickhouse_readonly", "restore-replica", CONTRACT)
def down_clickhouse_readonly(cluster: Cluster) -> None:
    set_gauges(cluster, readonly=1)


@case("keeper keeper_down", "clickhouse-recovery", CORE)
def down_keeper_image(cluster: Cluster) -> None:
    keeper_down(cluster)


@case("postgres postgres_down", "pause-trading", CRD_CNPG)
def down_postgres_no_instance(cluster: Cluster) -> None:
    postgres_down(cluster)


@case("postgres postgres_down", "pause-trading", CRD_CNPG)
def down_postgres_unrecoverable(cluster: Cluster) -> None:
    cluster.put(POSTGRES, base.cnpg_cluster(phase="Cluster is in an unrecoverable state, needs manual intervention"))


@case("postgres postgres_degraded", "pause-trading", CRD_CNPG)
def degraded_postgres_instance_missing(cluster: Cluster) -> None:
    cluster.put(POSTGRES, base.cnpg_cluster(phase="Creating a new replica", ready=1, instances=2))


@case("postgres postgres_degraded", "pause-trading", CRD_CNPG)
def degraded_postgres_switchover(cluster: Cluster) -> None:
    cluster.put(POSTGRES, base.cnpg_cluster(phase="Switchover in progress"))


@case("trading trading_revision_failed", "rollback-image", CRD_KNATIVE)
def down_trading_no_revision(cluster: Cluster) -> None:
    newest_fails(cluster, old_serves=False)


@case("trading trading_revision_failed", "rollback-image", CRD_KNATIVE)
def degraded_trading_older_serves(cluster: Cluster) -> None:
    newest_fails(cluster, old_serves=True)


@case("trading trading_route_not_ready", "trading-route", CRD_KNATIVE)
def degraded_trading_route_not_ready(cluster: Cluster) -> None:
    route_not_ready(cluster, since=ago(900))


@case("trading trading_crash_json", "rollback-image", CRD_KNATIVE)
def down_trading_json(cluster: Cluster) -> None:
    newest_fails(cluster, old_serves=False, log="TypeError: Object of type UUID is not JSON serializable\n")


@case("trading trading_crash_json", "rollback-image", CRD_KNATIVE)
def degraded_trading_json_older_serves(cluster: Cluster) -> None:
    newest_fails(cluster, old_serves=True, log="TypeError: Object of type UUID is not JSON serializable\n")


@case("trading trading_two_writers", "pause-trading", CRD_KNATIVE)
def down_trading_two_writers(cluster: Cluster) -> None:
    add_old_revision_pod(cluster)


@case("trading trading_loop_stopped", "trading-loop", CONTRACT)
def degraded_trading_loop_stopped(cluster: Cluster) -> None:
    status_of(cluster, running=False, last_error="cycle failed")


@case("trading trading_error", "trading-loop", CONTRACT)
def degraded_trading_error(cluster: Cluster) -> None:
    status_of(cluster, last_error="OperationalError: connection to server failed")


@case("trading trading_leader_silent", "trading-loop", CONTRACT)
def degraded_trading_leader_silent(cluster: Cluster) -> None:
    status_of(cluster, running=False, last_error="cycle failed", leader_silent=True)


@case("trading trading_orders_uncertain", "trading-loop", CONTRACT)
def degraded_trading_orders_uncertain(cluster: Cluster) -> None:
    counts = {"never_arrived": 1, "arrived_late": 0, "orphans": 0, "cancels_not_obeyed": 2}
    status_of(cluster, orders_uncertain=counts)


@case("trading trading_loss_limit", "trading-loop", CONTRACT)
def degraded_trading_loss_limit(cluster: Cluster) -> None:
    status_of(cluster, loss_limit={"latched": True, "since": "2026-03-02T14:00:00Z"})


@case("trading trading_stopped", "resume-trading", CONTRACT)
def degraded_trading_stopped(cluster: Cluster) -> None:
    status_of(cluster, stop={"since": "2026-03-02T14:00:00Z", "by": "torghut-00006"})


@case("trading live_trading_enabled", "pause-trading", CONTRACT)
def down_trading_live(cluster: Cluster) -> None:
    status_of(cluster, mode="live", live_enabled=True)


@case("argocd argocd_out_of_sync", "argocd-sync", CRD_ARGO)
def degraded_argocd_out_of_sync(cluster: Cluster) -> None:
    cluster.put(ARGOCD, base.application(sync="OutOfSync"))


@case("argocd argocd_sync_failed", "argocd-sync", CRD_ARGO)
def degraded_argocd_sync_failed(cluster: Cluster) -> None:
    cluster.put(ARGOCD, base.application(sync="OutOfSync", operation="Failed", finished=ago(30)))


@case("argocd argocd_unhealthy", "argocd-sync", CRD_ARGO)
def degraded_argocd_unhealthy(cluster: Cluster) -> None:
    cluster.put(ARGOCD, base.application(health="Degraded"))


@case("argocd argocd_unhealthy", "argocd-sync", CRD_ARGO)
def degraded_argocd_progressing_for_long(cluster: Cluster) -> None:
    cluster.put(ARGOCD, base.application(health="Progressing", health_since=ago(1000)))


@case("kafka kafka_not_ready", "kafka-recovery", CRD_STRIMZI)
def down_kafka(cluster: Cluster) -> None:
    kafka_not_ready(cluster)


@case("kafka kafka_not_ready", "kafka-recovery", CRD_STRIMZI)
def down_kafka_no_ready_condition(cluster: Cluster) -> None:
    state = base.condition("NotReady", "True", reason="Creating", since=ago(700))
    cluster.put(f"{KAFKA}/kafkas", {"kind": "Kafka", "metadata": {"name": "kafka"}, "status": {"conditions": [state]}})


@case("postgres unschedulable", "pod-failure", CORE)
def degraded_postgres_pod_unschedulable(cluster: Cluster) -> None:
    scheduled = base.condition("PodScheduled", "False", reason="Unschedulable", since=ago(900))
    crash(
        cluster,
        "torghut-db-2",
        {"cnpg.io/cluster": "torghut-db"},
        phase="Pending",
        scheduled=scheduled,
        created=ago(900),
    )


@case("freshness trades_incomplete", "data-quality", CONTRACT)
def degraded_trades_incomplete(cluster: Cluster) -> None:
    add_completeness(cluster, 0.89, 0.97)


@case("freshness unreadable", "access", CONTRACT)
def unknown_freshness_unreadable(cluster: Cluster) -> None:
    for symbol in ("AAPL", "MSFT", "NVDA"):
        cluster.services[base.LATEST.format(symbol)] = (500, {"ok": False, "message": "x", "error": "y"})


@case("clickhouse unreadable", "access", CONTRACT)
def unknown_gauges_are_old(cluster: Cluster) -> None:
    set_gauges(cluster, scraped=ago(1200))


@case("ta unreadable", "access", CRD_FLINK)
def unknown_ta_state_is_a_new_word(cluster: Cluster) -> None:
    cluster.put(FLINK, base.flink_deployment(job="MEDITATING"))


@case("freshness signals_stale", "access", CONTRACT)
def degraded_stale_and_ta_unreadable(cluster: Cluster) -> None:
    stale(cluster, 1000)
    cluster.remove(FLINK, "torghut-ta")


@case("forwarder unreadable", "access", CONTRACT)
def unknown_forwarder_does_not_answer(cluster: Cluster) -> None:
    del cluster.services[base.READYZ]


@case("trading unreadable", "access", CONTRACT)
def unknown_trading_does_not_answer(cluster: Cluster) -> None:
    del cluster.services[base.STATUS.format(TRADING_POD)]


@case("trading trading_crash_json", "rollback-image", CRD_KNATIVE)
def down_trading_json_while_knative_still_says_ready(cluster: Cluster) -> None:
    crash(cluster, TRADING_POD, base.revision_labels(7), container="user-container")
    cluster.logs[TRADING_POD, "user-container", True] = "TypeError: Object of type UUID is not JSON serializable\n"


@case("trading trading_loop_stopped", "trading-loop", "Deployment torghut-scheduler, port 8183")
def degraded_trading_scheduler_does_not_run(cluster: Cluster) -> None:
    add_scheduler(cluster, running=False)
    cluster.services[base.STATUS.format(TRADING_POD)] = (503, {"detail": "scheduler_runtime_unavailable"})


@case("trading unreadable", "access", "Deployment torghut-scheduler, port 8183")
def unknown_trading_scheduler_is_mute(cluster: Cluster) -> None:
    add_scheduler(cluster)
    del cluster.services[f"pods/{SCHEDULER_POD}:8183/trading/status"]


@case("clickhouse crash_loop", "pod-failure", CORE)
def degraded_clickhouse_pod_crashes(cluster: Cluster) -> None:
    labels = {"clickhouse.altinity.com/chi": "torghut-clickhouse"}
    crash(cluster, "chi-torghut-clickhouse-default-0-1-0", labels, container="clickhouse")
    involved = {"kind": "Pod", "name": "chi-torghut-clickhouse-default-0-1-0"}
    event = {"type": "Warning", "reason": "BackOff", "count": 14, "involvedObject": involved, "lastTimestamp": ago(20)}
    cluster.put(base.EVENTS, {"metadata": {"name": "e1"}, **event})


@case("kafka kafka_not_ready", "kafka-recovery", CRD_STRIMZI)
def down_kafka_no_broker_ready(cluster: Cluster) -> None:
    labels = {"strimzi.io/cluster": "kafka", "strimzi.io/name": "kafka-kafka"}
    broker = base.pod("kafka-pool-0", labels, ready=False, since=ago(900))
    cluster.put(base.KAFKA_PODS, broker)
    cluster.put(
        base.KAFKA_PODS, base.pod("kafka-entity-operator-1", {**labels, "strimzi.io/name": "kafka-entity-operator"})
    )
