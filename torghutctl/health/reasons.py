"""The table of all reasons: what each means, what shows it, what would change it, where it comes from, what to do.

`beats` lists the more general reasons of the same component that it makes evidence of. `rank` orders reasons of one
component and level: a lower one is named first; pod reasons come after a component's own.
"""

from __future__ import annotations

from dataclasses import dataclass

ANY = "any"
POD_REASONS = ("missing_config", "image_pull", "oom_killed", "unschedulable", "crash_loop")
GRACE = "a grace of 300 s holds: younger than that it is info"
MEMORY = "rests on memory of the operator's behaviour; confirm it on a cluster"
FEED_HOURS = "iex: 09:30 to 16:00 New York, 13:00 on a half day; sip: 04:00 to 20:00, 17:00 on a half day"
FACTS = "the system's recorded operating facts"


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One row of the table. `procedure` and `runbook` are names; exactly one of them is the next step."""

    name: str
    component: str
    levels: str
    rank: int
    means: str
    shown_by: str
    changed_by: str
    origin: str
    procedure: str | None = None
    subcommand: str | None = None
    runbook: str | None = None
    beats: tuple[str, ...] = ()

    @property
    def next_step(self) -> str:
        """Return the name of the procedure or runbook that comes next."""
        return self.procedure or self.runbook or "access"


_TA_GENERAL = ("ta_stalled", "ta_restarting")
_FORWARDER_GENERAL = ("forwarder_paused", "forwarder_not_ready", "forwarder_replicas")

_ROWS = (
    Reason(
        name="alpaca_406_second_connection", component="forwarder", levels="down", rank=1, procedure="restart-ws",
        beats=("feed_silent", *_FORWARDER_GENERAL),
        means="Alpaca allows one market-data connection per account and another one holds it",
        shown_by="/readyz of a running forwarder pod: not ready, error_class alpaca_406_second_connection",
        changed_by="/readyz 200, or another error_class; close the other client, then restart the forwarder",
        origin="the forwarder's readiness contract",
    ),
    Reason(
        name="alpaca_auth", component="forwarder", levels="down", rank=2, runbook="rotate-credentials",
        beats=("feed_silent", *_FORWARDER_GENERAL),
        means="Alpaca refuses the forwarder's key",
        shown_by="/readyz of a running forwarder pod: not ready, error_class alpaca_auth",
        changed_by="/readyz 200 after the key was rotated and the pod restarted",
        origin="the forwarder's readiness contract",
    ),
    Reason(
        name="kafka_auth", component="forwarder", levels="down", rank=3, runbook="kafka-recovery",
        beats=("feed_silent", *_FORWARDER_GENERAL),
        means="the brokers refuse the forwarder's user or its rights",
        shown_by="/readyz: not ready, error_class kafka_auth",
        changed_by="/readyz 200; the KafkaUser's password and ACLs", origin="the forwarder's readiness contract",
    ),
    Reason(
        name="kafka_metadata", component="forwarder", levels="down", rank=4, runbook="kafka-recovery",
        beats=("feed_silent", *_FORWARDER_GENERAL),
        means="the brokers do not answer with the topics' leaders",
        shown_by="/readyz: not ready, error_class kafka_metadata",
        changed_by="/readyz 200; brokers ready and topics there", origin="the forwarder's readiness contract",
    ),
    Reason(
        name="kafka_produce", component="forwarder", levels="down", rank=5, runbook="kafka-recovery",
        beats=("feed_silent", *_FORWARDER_GENERAL),
        means="the brokers answer, but do not acknowledge what is sent",
        shown_by="/readyz: not ready, error_class kafka_produce",
        changed_by="/readyz 200; in-sync replicas and disk space of the brokers",
        origin="the forwarder's readiness contract",
    ),
    Reason(
        name="alpaca_config", component="forwarder", levels="down", rank=6, runbook="forwarder-config",
        beats=("feed_silent", *_FORWARDER_GENERAL),
        means="Alpaca refuses the feed, a channel or a symbol as it is configured",
        shown_by="/readyz: not ready, error_class alpaca_config; detail names it",
        changed_by="/readyz 200 after the configuration was changed",
        origin="the forwarder's readiness contract",
    ),
    Reason(
        name="feed_silent", component="forwarder", levels="down", rank=7, procedure="restart-ws",
        beats=_FORWARDER_GENERAL,
        means="no trade or quote of any symbol comes although the feed's session is open, or a ping is not answered",
        shown_by="/readyz: not ready, error_class feed_silent",
        changed_by="/readyz 200: a trade or quote came",
        origin="the forwarder's readiness contract",
    ),
    Reason(
        name="alpaca_slow_client", component="forwarder", levels="degraded", rank=1, runbook="forwarder-config",
        beats=("alpaca_symbol_limit", *_FORWARDER_GENERAL),
        means="Alpaca closed the connection because it was read too slowly (407)",
        shown_by="/readyz: not ready, error_class alpaca_slow_client",
        changed_by="/readyz 200; more CPU, or fewer symbols",
        origin="the forwarder's readiness contract",
    ),
    Reason(
        name="alpaca_symbol_limit", component="forwarder", levels="degraded", rank=2, runbook="forwarder-config",
        beats=_FORWARDER_GENERAL,
        means="the plan allows fewer subscriptions than there are symbols (405); those left out are named by /readyz",
        shown_by="/readyz: error_class alpaca_symbol_limit, ready or not",
        changed_by="fewer symbols, ALPACA_MAX_SYMBOLS, or a larger plan",
        origin="the forwarder's readiness contract",
    ),
    Reason(
        name="forwarder_paused", component="forwarder", levels="degraded", rank=8, runbook="reconcile",
        beats=("forwarder_not_ready", "forwarder_replicas"),
        means="the Deployment's rollout is paused: what is merged and applied does not reach the pod, a restart neither",
        shown_by="spec.paused true of the forwarder's Deployment",
        changed_by="spec.paused false or absent", origin="Deployment API",
    ),
    Reason(
        name="forwarder_not_ready", component="forwarder", levels="degraded", rank=9, procedure="restart-ws",
        means=f"the forwarder runs or should run and is not ready, without a named cause; {GRACE}",
        shown_by="/readyz 503 with error_class unknown, or a pod or Deployment that is not ready",
        changed_by="/readyz 200 and one ready pod", origin="the forwarder's readiness contract; Deployment API",
    ),
    Reason(
        name="forwarder_replicas", component="forwarder", levels="degraded", rank=10, procedure="restart-ws",
        means="not exactly one forwarder is wanted or running; a second one is refused by Alpaca (406)",
        shown_by="spec.replicas is not 1, or two pods run that are not being deleted",
        changed_by="spec.replicas 1 and one running pod", origin="Deployment API",
    ),
    Reason(
        name="ta_failed_disk_full", component="ta", levels="down", rank=1, procedure="suspend-ta",
        beats=("ta_failed", "ta_spec_error", *_TA_GENERAL),
        means="the job failed because ClickHouse had no space left",
        shown_by="job FAILED (local: /readyz reason clickhouse_disk_full) and a disk-full signature in status.error, Flink's exceptions or the logs",
        changed_by="job RUNNING after space was freed", origin="FlinkDeployment CRD; signatures are secondary evidence",
    ),
    Reason(
        name="ta_failed_readonly_table", component="ta", levels="down", rank=2, procedure="restore-replica",
        beats=("ta_failed", "ta_spec_error", *_TA_GENERAL),
        means="the job failed because a replicated table is read-only",
        shown_by="job FAILED and a read-only signature in status.error, Flink's exceptions or the logs",
        changed_by="is_readonly 0 on every replica and job RUNNING",
        origin="FlinkDeployment CRD; signatures are secondary evidence",
    ),
    Reason(
        name="ta_failed_kafka", component="ta", levels="down", rank=3, runbook="kafka-recovery",
        beats=("ta_failed", "ta_spec_error", *_TA_GENERAL),
        means="the job failed on Kafka: look at the brokers before any restart",
        shown_by="job FAILED and a Kafka signature (InitProducerId, broker timeout) in status.error, Flink's exceptions or the logs",
        changed_by="brokers ready and job RUNNING", origin="FlinkDeployment CRD; signatures are secondary evidence",
    ),
    Reason(
        name="ta_failed_storage", component="ta", levels="down", rank=4, runbook="rotate-credentials",
        beats=("ta_failed", "ta_spec_error", *_TA_GENERAL),
        means="the job failed because the checkpoint store refuses it",
        shown_by="job FAILED and an S3 signature (AccessDenied, NoSuchBucket) in status.error, Flink's exceptions or the logs",
        changed_by="a completed checkpoint and job RUNNING",
        origin="FlinkDeployment CRD; signatures are secondary evidence",
    ),
    Reason(
        name="ta_failed", component="ta", levels="down", rank=5, procedure="restart-ta", beats=_TA_GENERAL,
        means="the job ended and does not come back by itself",
        shown_by="status.jobStatus.state FAILED, CANCELED or FINISHED while running is wanted, or lifecycleState FAILED",
        changed_by="job RUNNING", origin="FlinkDeployment CRD, status enums",
    ),
    Reason(
        name="ta_spec_error", component="ta", levels="down", rank=6, runbook="reconcile", beats=_TA_GENERAL,
        means="the operator cannot carry out the wanted spec; with its webhook off the API accepts bad ones",
        shown_by="status.error is set, jobManagerDeploymentStatus ERROR, or lifecycleState ROLLED_BACK",
        changed_by="an empty status.error after git's spec was mended",
        origin=f"FlinkDeployment CRD, status enums; what the operator writes to status.error {MEMORY}",
    ),
    Reason(
        name="ta_restarting", component="ta", levels="degraded", rank=7, procedure="restart-ta",
        means=f"the job or its manager is on the way up or down; {GRACE}",
        shown_by="job RESTARTING, RECONCILING, INITIALIZING, …, lifecycle UPGRADING, or the manager not READY",
        changed_by="job RUNNING", origin="FlinkDeployment CRD, status enums",
    ),
    Reason(
        name="ta_stalled", component="ta", levels="down", rank=8, procedure="restart-ta",
        means="the job says RUNNING, the forwarder is ready, and yet nothing new arrives in ClickHouse",
        shown_by="a freshness limit is passed in the feed's session while job RUNNING and forwarder ready",
        changed_by="newer rows, or a forwarder that is not ready", origin=FACTS,
    ),
    Reason(
        name="ta_suspended", component="ta", levels="degraded; info when the market is closed", rank=10,
        procedure="resume-ta",
        means="the job is suspended in a pre-market, regular or post-market session, and git does not say otherwise",
        shown_by="spec.job.state suspended; the session by the exchange's calendar (a half day ends at 13:00, its"
        " post-market at 17:00 New York)",
        changed_by="spec.job.state running, or the end of the day's last session",
        origin="FlinkDeployment CRD",
    ),
    Reason(
        name="ta_suspended_drift", component="ta", levels="degraded", rank=9, runbook="reconcile",
        beats=("ta_suspended",),
        means="git and the cluster disagree on whether the job is suspended",
        shown_by="spec.job.state of the live object differs from git's (needs a repository)",
        changed_by="the same state in both", origin="FlinkDeployment CRD, git",
    ),
    Reason(
        name="ta_replay_left_on", component="ta", levels="degraded", rank=11, procedure="replay-ta", subcommand="exit",
        means="the replay's consumer group is still set: every restart reads the topics again from the beginning",
        shown_by="TA_GROUP_ID in the ConfigMap (or in git) begins with torghut-ta-replay-",
        changed_by="the recorded group and offset reset", origin=FACTS,
    ),
    Reason(
        name="clickhouse_down", component="clickhouse", levels="down", rank=1, runbook="clickhouse-recovery",
        beats=("clickhouse_operator_failed",),
        means="no replica answers", shown_by="gauge clickhouse_up 0 on every replica, or a Service without ready addresses",
        changed_by="clickhouse_up 1 and a ready address", origin="guardrail gauges; EndpointSlice API",
    ),
    Reason(
        name="clickhouse_disk_critical", component="clickhouse", levels="down", rank=2, procedure="suspend-ta",
        beats=("clickhouse_disk_low",),
        means="a replica's disk is nearly full: writers must stop before it is",
        shown_by="gauge disk_free_ratio below 0.08", changed_by="a free share of 8 % or more", origin="guardrail gauges",
    ),
    Reason(
        name="clickhouse_readonly", component="clickhouse", levels="down", rank=3, procedure="restore-replica",
        means="a replicated table takes no writes: its Keeper session or metadata is lost",
        shown_by="gauge any_replica_readonly 1", changed_by="the gauge back at 0", origin="guardrail gauges",
    ),
    Reason(
        name="clickhouse_disk_low", component="clickhouse", levels="degraded", rank=4, procedure="suspend-ta",
        means="a replica's disk fills up", shown_by="gauge disk_free_ratio below 0.15",
        changed_by="a free share of 15 % or more", origin="guardrail gauges",
    ),
    Reason(
        name="clickhouse_not_replicated", component="clickhouse", levels="degraded", rank=5,
        runbook="clickhouse-recovery",
        means="data has no second copy: a replica is away, or a table's engine is not Replicated",
        shown_by="clickhouse_up 0 on some but not all replicas; or, with ClickHouse credentials in the environment, system.tables",
        changed_by="every replica up and every table Replicated", origin="guardrail gauges; system.tables",
    ),
    Reason(
        name="clickhouse_operator_failed", component="clickhouse", levels="degraded", rank=6,
        runbook="clickhouse-recovery",
        means="the operator gave up on the installation: what git wants of it is not carried out",
        shown_by="ClickHouseInstallation status.status Aborted, or status.error while it is not Completed",
        changed_by="status Completed after the cause was mended and the operator looked again",
        origin="Altinity CRD; its status words",
    ),
    Reason(
        name="keeper_down", component="keeper", levels="down", rank=1, runbook="clickhouse-recovery",
        means="no Keeper answers: replicated tables turn read-only",
        shown_by="no ready Keeper pod while an installation or a pod of it exists, or its Service has no ready address",
        changed_by="a ready Keeper pod", origin="Altinity CRDs; the pods' label as published installations select by it",
    ),
    Reason(
        name="postgres_down", component="postgres", levels="down", rank=1, procedure="pause-trading",
        beats=("postgres_degraded",),
        means="no PostgreSQL instance is ready: intents cannot be stored",
        shown_by="CNPG status.readyInstances 0, or a phase that says unrecoverable",
        changed_by="a ready instance", origin="CloudNativePG CRD; its phases' texts differ by version",
    ),
    Reason(
        name="postgres_degraded", component="postgres", levels="degraded", rank=2, procedure="pause-trading",
        means="fewer instances are ready than wanted, or the cluster changes its shape",
        shown_by="CNPG status.phase other than healthy, or readyInstances below instances",
        changed_by="phase healthy and every instance ready",
        origin="CloudNativePG CRD; its phases' texts differ by version",
    ),
    Reason(
        name="live_trading_enabled", component="trading", levels="down; info where the environment is declared live",
        rank=1, procedure="pause-trading",
        means="trading with real money is on where nobody declared it",
        shown_by="live_enabled or mode live in /trading/status or in the live spec, and no `live: true` for the environment",
        changed_by="paper mode, or `live: true` in the environment's entry", origin="the trading API's contract",
    ),
    Reason(
        name="trading_two_writers", component="trading", levels="down", rank=2, procedure="pause-trading",
        means="two revisions run at once and both may send orders",
        shown_by="running, not terminating pods of two revisions while the newest has been ready for over 120 s",
        changed_by="pods of one revision only", origin=f"Knative labels; {FACTS}",
    ),
    Reason(
        name="trading_crash_json", component="trading", levels="down; degraded while an older revision serves", rank=3,
        procedure="rollback-image", beats=("trading_revision_failed", "trading_route_not_ready"),
        means="the newest image crashes on a value it cannot write as JSON (a UUID)",
        shown_by="the newest revision's pod crashes and its log ends in `not JSON serializable`",
        changed_by="the earlier image", origin="Knative conditions; the log signature is secondary evidence",
    ),
    Reason(
        name="trading_revision_failed", component="trading", levels="down; degraded while an older revision serves",
        rank=4, procedure="rollback-image",
        means=f"the newest revision does not become ready; {GRACE}",
        shown_by="Knative Ready False, or latestCreatedRevisionName is not latestReadyRevisionName",
        changed_by="Ready True on the newest revision", origin="Knative Serving API",
        beats=("trading_route_not_ready",),
    ),
    Reason(
        name="trading_route_not_ready", component="trading", levels="degraded", rank=5, runbook="trading-route",
        means=f"the newest revision is ready and the way to it is not; {GRACE}",
        shown_by="Knative Ready not True while the newest created revision is the newest ready one and says Ready True",
        changed_by="Ready True of the Knative Service", origin="Knative Serving API",
    ),
    Reason(
        name="trading_leader_silent", component="trading", levels="degraded", rank=6, runbook="trading-loop",
        beats=("trading_loop_stopped", "trading_error"),
        means="the process that holds the leader's lock gives no sign of life",
        shown_by="/trading/status of a standby or API process: leader_silent true", changed_by="another process leads",
        origin="the trading API's contract",
    ),
    Reason(
        name="trading_loop_stopped", component="trading", levels="degraded", rank=7, runbook="trading-loop",
        beats=("trading_error",),
        means="trading is enabled and its loop does not run", shown_by="/trading/status: enabled true, running false",
        changed_by="running true", origin="the trading API's contract",
    ),
    Reason(
        name="trading_error", component="trading", levels="degraded", rank=8, runbook="trading-loop",
        means="the loop's last cycle failed", shown_by="/trading/status: last_error is set",
        changed_by="last_error null after a good cycle", origin="the trading API's contract",
    ),
    Reason(
        name="trading_orders_uncertain", component="trading", levels="degraded", rank=9, runbook="trading-loop",
        means="an order never arrived, arrived late, is of no decision, or is open though it was cancelled",
        shown_by="/trading/status: a count in orders_uncertain is above 0",
        changed_by="a day without one; what is open is settled", origin="the trading API's contract",
    ),
    Reason(
        name="trading_loss_limit", component="trading", levels="degraded", rank=10, runbook="trading-loop",
        means="a loss limit was reached: nothing is opened until a person resumes",
        shown_by="/trading/status: loss_limit.latched true", changed_by="`torghutctl trading resume-losses`",
        origin="the trading API's contract",
    ),
    Reason(
        name="trading_stopped", component="trading", levels="info while git wants trading off, else degraded", rank=11,
        procedure="resume-trading",
        means="a recorded stop stands: no order is sent, whoever leads",
        shown_by="/trading/status: stop is not null",
        changed_by="a revision first seen after the stop leads with trading on", origin="the trading API's contract",
    ),
    Reason(
        name="trading_paused", component="trading", levels="info", rank=12, procedure="resume-trading",
        means="trading is switched off", shown_by="/trading/status: enabled false", changed_by="TRADING_ENABLED=true",
        origin="the trading API's contract",
    ),
    Reason(
        name="kill_switch_on", component="trading", levels="info", rank=13, procedure="resume-trading",
        means="the kill switch is on: open orders are cancelled and none is sent",
        shown_by="/trading/status: kill_switch_enabled true", changed_by="TRADING_KILL_SWITCH_ENABLED=false",
        origin="the trading API's contract",
    ),
    Reason(
        name="argocd_sync_failed", component="argocd", levels="degraded", rank=1, runbook="argocd-sync",
        beats=("argocd_out_of_sync",),
        means="the last sync failed: what was merged is not applied",
        shown_by="Application status.operationState.phase Failed or Error",
        changed_by="a sync that succeeds", origin="Argo CD Application CRD",
    ),
    Reason(
        name="argocd_unhealthy", component="argocd", levels="degraded", rank=2, runbook="argocd-sync",
        means=f"Argo CD calls a resource unhealthy; {GRACE}",
        shown_by="Application status.health.status Degraded, Missing, Unknown or (past the grace) Progressing, or sync status Unknown",
        changed_by="health Healthy", origin="Argo CD Application CRD; never used for Flink, whose check calls a failed job healthy",
    ),
    Reason(
        name="argocd_out_of_sync", component="argocd", levels="degraded", rank=3, runbook="argocd-sync",
        means=f"git and cluster differ; {GRACE}",
        shown_by="Application status.sync.status OutOfSync", changed_by="status Synced", origin="Argo CD Application CRD",
    ),
    Reason(
        name="kafka_not_ready", component="kafka", levels="down", rank=1, runbook="kafka-recovery",
        means=f"the brokers are not ready; it explains the forwarder's kafka_* and ta_failed_kafka; {GRACE}",
        shown_by="the Strimzi Kafka's condition NotReady True or Ready not True (an absent one, or a paused"
        " reconciliation, is no evidence), or no broker pod is ready",
        changed_by="Ready True",
        origin=f"Strimzi CRD, condition schema; that NotReady True comes in place of Ready False {MEMORY}",
    ),
    Reason(
        name="signals_stale", component="freshness", levels="degraded; info for one late symbol", rank=1, runbook="access",
        means="no symbol has a signal younger than 900 s of session time",
        shown_by="ta/latest of every symbol, and the guardrail gauges when that cannot be read; a time over an hour"
        " ahead of this program's clock is nonsense and not counted",
        changed_by=f"a newer signal, or the end of the feed's session ({FEED_HOURS})", origin=FACTS,
    ),
    Reason(
        name="microbars_stale", component="freshness", levels="degraded; info for one late symbol", rank=2,
        runbook="access",
        means="no symbol has a micro-bar younger than 300 s of session time",
        shown_by="ta/latest of every symbol, and the guardrail gauges when that cannot be read; a time over an hour"
        " ahead of this program's clock is nonsense and not counted",
        changed_by=f"a newer bar, or the end of the feed's session ({FEED_HOURS})", origin=FACTS,
    ),
    Reason(
        name="trades_incomplete", component="freshness", levels="degraded", rank=3, runbook="data-quality",
        means="own seconds hold under 90 % of the volume that the provider's minute bars have, over ten minutes in which seconds came",
        shown_by="gauge minute_volume_ratio below 0.9 on a replica; where the gauge is absent nothing is said",
        changed_by="a share of 90 % or more", origin="guardrail gauges",
    ),
    Reason(
        name="missing_config", component=ANY, levels="down; degraded while a pod of the component is ready", rank=20,
        runbook="pod-failure", beats=("crash_loop",),
        means=f"a pod refers to a Secret, ConfigMap or key that is not there; {GRACE}",
        shown_by="container waiting: CreateContainerConfigError", changed_by="the missing object or key",
        origin="Kubernetes container states",
    ),
    Reason(
        name="image_pull", component=ANY, levels="down; degraded while a pod of the component is ready", rank=21,
        runbook="pod-failure", beats=("crash_loop",),
        means=f"a pod's image cannot be pulled; {GRACE}", shown_by="container waiting: ImagePullBackOff or ErrImagePull",
        changed_by="an image that exists and may be pulled", origin="Kubernetes container states",
    ),
    Reason(
        name="oom_killed", component=ANY, levels="down; degraded while a pod of the component is ready", rank=22,
        runbook="pod-failure", beats=("crash_loop",),
        means=f"a container was killed for its memory and is not ready again; {GRACE}",
        shown_by="container terminated (now or before its last restart): OOMKilled", changed_by="a ready container",
        origin="Kubernetes container states",
    ),
    Reason(
        name="unschedulable", component=ANY, levels="down; degraded while a pod of the component is ready", rank=23,
        runbook="pod-failure", beats=("crash_loop",),
        means=f"no node takes the pod; {GRACE}", shown_by="condition PodScheduled False, reason Unschedulable",
        changed_by="room on a node, or a smaller request", origin="Kubernetes pod conditions",
    ),
    Reason(
        name="crash_loop", component=ANY, levels="down; degraded while a pod of the component is ready", rank=24,
        runbook="pod-failure",
        means=f"a container keeps ending; {GRACE} (five restarts take longer than that by themselves)",
        shown_by="container waiting: CrashLoopBackOff", changed_by="a container that stays up",
        origin="Kubernetes container states; back-off doubles from 10 s",
    ),
    Reason(
        name="unreadable", component=ANY, levels="unknown; info for a source that is not required", rank=30,
        runbook="access",
        means="a required source could not be read, is absent, or answered what does not parse",
        shown_by="403, 404, 5xx, a timeout, no connection, or a body of another shape",
        changed_by="an answer; `health-report --explain-access` lists the rights it takes", origin="this program's contract",
    ),
)  # fmt: skip
REASONS = {row.name: row for row in _ROWS}
