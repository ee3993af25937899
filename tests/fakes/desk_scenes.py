"""The scenes of the operator's desk: each procedure from what calls for it to the effective state that it brings.

A scene plays on a `Desk`, and says between commands what people and the cluster did meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.fakes import apache_kafka, incidents, incidents_compound, incidents_single
from tests.fakes import torghut_cluster as base
from tests.fakes.operator_desk import PHRASE, Desk
from tests.fakes.trading_folder import paper_account
from torghut_core.rfc3339 import parse_ns
from torghutctl.snapshot.kafka_server import INPUT_TOPICS

assert incidents_compound and incidents_single, "importing them registers their cases"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One page: its title, what it is about, and what happens."""

    name: str
    title: str
    text: str
    play: Callable[[Desk], None]
    needs_kafka: bool = False
    is_shipped: bool = False
    """Whether the manifests are those that are shipped, with a scheduler and a TA of one process."""


SCENES: dict[str, Scene] = {}


def scene(
    name: str, title: str, text: str, *, needs_kafka: bool = False, is_shipped: bool = False
) -> Callable[[Callable[[Desk], None]], None]:
    """Register a function as the scene of that name."""

    def register(play: Callable[[Desk], None]) -> None:
        SCENES[name] = Scene(
            name=name, title=title, text=text, play=play, needs_kafka=needs_kafka, is_shipped=is_shipped
        )

    return register


def bend(desk: Desk, name: str) -> None:
    """Let an incident happen."""
    next(case for case in incidents.CASES if case.name == name).bend(desk.cluster)


def env(**variables: str) -> list[dict[str, Any]]:
    """Return the trading container's variables as git has them, but for these."""
    told = [*base.trading_env(), *({"name": name, "value": "true"} for name in ("LLM_ENABLED", "LLM_SHADOW_MODE"))]
    return [{**item, "value": variables[item["name"]]} if item["name"] in variables else item for item in told]


def revision(desk: Desk, number: int, image: str = base.IMAGE, **variables: str) -> None:
    """Let the Knative Service have rolled out a revision with these variables, and its process say so."""
    cluster = desk.cluster
    service, newest = base.knative_service(created=number, ready_number=number), base.revision(number, created=desk.at)
    for container in (service["spec"]["template"]["spec"]["containers"][0], newest["spec"]["containers"][0]):
        container |= {"env": env(**variables), "image": image}
    cluster.put(f"{base.KNATIVE}/services", service)
    cluster.put(f"{base.KNATIVE}/revisions", newest)
    for collection, name in list(cluster.objects):
        if collection == base.PODS and name.startswith("torghut-0"):
            cluster.remove(collection, name)
            cluster.services.pop(base.STATUS.format(name), None)
    name = f"torghut-{number:05d}-deployment-dddd"
    cluster.put(base.PODS, base.pod(name, base.revision_labels(number), container="user-container", created=desk.at))
    is_on = variables.get("TRADING_ENABLED", "true") == "true"
    status = base.trading_status(enabled=is_on, running=is_on, last_run_at=desk.at if is_on else base.ago(600))
    status["llm"]["enabled"] = True
    cluster.services[base.STATUS.format(name)] = (200, status)
    cluster.services[base.HEALTH.format(name)] = cluster.services[base.HEALTH.format(base.TRADING_POD)]
    cluster.logs[name, "user-container", False] = "started\n"


def job(desk: Desk, nonce: int, **status: Any) -> None:
    """Let the Flink operator have taken the FlinkDeployment over as git has it."""
    made = base.flink_deployment(updated=base.ago(120), reconciled=base.ago(120), **status)
    made["spec"]["restartNonce"] = nonce
    desk.cluster.put(base.FLINK, made)


SUSPENDED: dict[str, Any] = {"state": "suspended", "job": "FINISHED", "lifecycle": "SUSPENDED", "manager": "MISSING"}
PAUSED_FILE = (
    "knative-service.yaml",
    'TRADING_ENABLED\n              value: "true"',
    'TRADING_ENABLED\n              value: "false"',
)
SUSPENDED_FILE = ("ta/flinkdeployment.yaml", "state: running", "state: suspended")


def merged(desk: Desk, said: str) -> str:
    """Plan and do what the report names next, and merge it; return the command that follows it."""
    follow = desk.act(desk.plan(desk.report()["next"]))
    desk.say(said)
    desk.merge()
    return follow


@scene("pause-trading", "Pause trading", "Two processes trade: an old revision has not ended. Stop first, then look.")
def pause_trading(desk: Desk) -> None:
    bend(desk, "down_trading_two_writers")
    line = desk.act(desk.plan(desk.report()["next"]))
    desk.say("Somebody reviews and merges the pull request; Argo CD applies it, and Knative rolls a new revision out.")
    desk.merge()
    revision(desk, 8, TRADING_ENABLED="false")
    desk.run(line)
    desk.run("torghutctl status -e lab")


@scene("resume-trading", "Resume trading", "Trading was paused, and what it was paused for is over.")
def resume_trading(desk: Desk) -> None:
    desk.gitops.replace(*PAUSED_FILE, "pause")
    revision(desk, 8, TRADING_ENABLED="false")
    desk.report()
    line = desk.plan("torghutctl resume-trading -e lab --reason 'the second writer is gone'")
    follow = desk.act(line)
    desk.say("Merged, applied and rolled out:")
    desk.merge()
    revision(desk, 9)
    desk.run(follow)
    desk.run("torghutctl status -e lab")


@scene("restart-ws", "Restart the forwarder", "Alpaca refuses the forwarder: another client has the one connection.")
def restart_ws(desk: Desk) -> None:
    bend(desk, "down_forwarder_406")
    line = desk.plan(desk.report()["next"])
    desk.say("The advice first: a notebook with the same key is found and closed. Then the command after `act`.")
    follow = desk.act(line)
    desk.say("Merged and applied; the new pod has the connection.")
    desk.merge()
    forwarder = base.forwarder()
    forwarder["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": desk.at}
    desk.cluster.put(base.DEPLOYMENTS, forwarder)
    desk.cluster.put(base.PODS, base.pod(base.WS_POD, base.ws_labels(), container="ws", created=desk.at))
    desk.cluster.services[base.READYZ] = base.readyz()
    desk.run(follow)


@scene("suspend-ta", "Suspend the technical analysis", "A ClickHouse replica has little disk left: stop the writing.")
def suspend_ta(desk: Desk) -> None:
    bend(desk, "down_clickhouse_disk_critical")
    follow = merged(desk, "Merged and applied; the operator has taken a savepoint and stopped the job.")
    job(desk, 1, **SUSPENDED)
    desk.run(follow)
    desk.say("What frees the space:")
    desk.run("torghutctl runbook suspend-ta")


@scene("resume-ta", "Resume the technical analysis", "The disk is free again; the job still stands.")
def resume_ta(desk: Desk) -> None:
    desk.gitops.replace(*SUSPENDED_FILE, "suspend")
    job(desk, 1, **SUSPENDED)
    follow = merged(desk, "Merged and applied; the job runs from its savepoint.")
    job(desk, 1)
    desk.run(follow)


@scene("restart-ta", "Restart the technical analysis", "The job has failed, and what it failed of is over.")
def restart_ta(desk: Desk) -> None:
    bend(desk, "down_ta_failed")
    follow = merged(desk, "Merged and applied; the job runs from its last checkpoint.")
    job(desk, 2)
    desk.run(follow)


@scene("rollback-image", "Roll an image back", "The newest revision does not become ready; the one before serves on.")
def rollback_image(desk: Desk) -> None:
    newer = base.IMAGE.replace("1" * 64, "2" * 64)
    desk.gitops.at = "2026-02-11T15:04:00+00:00"
    desk.gitops.replace("knative-service.yaml", base.IMAGE, newer, "release")
    bend(desk, "degraded_trading_older_serves")
    desk.cluster.get(f"{base.KNATIVE}/revisions", "torghut-00008")["spec"]["containers"][0]["image"] = newer
    next_step = desk.report()["next"]
    desk.run("torghutctl rollback-image -e lab --list")
    follow = desk.act(desk.plan(next_step))
    desk.say("Merged and applied:")
    desk.merge()
    desk.cluster.remove(base.PODS, "torghut-00008-deployment-cccc")
    revision(desk, 9)
    desk.run(follow)


@scene(
    "replay-ta",
    "Replay the technical analysis",
    "Signals of this morning are missing; Kafka still holds the trades. `TA_KAFKA_BOOTSTRAP` names the brokers.",
    needs_kafka=True,
)
def replay_ta(desk: Desk) -> None:
    desk.gitops.replace(*PAUSED_FILE, "pause")
    revision(desk, 8, TRADING_ENABLED="false")
    for topic in ("torghut.trades.v1", "torghut.quotes.v1"):
        spec = {"partitions": 3, "config": {"retention.ms": 604800000}}
        ready = {"conditions": [base.condition("Ready", "True")]}
        desk.cluster.put(f"{base.KAFKA}/kafkatopics", {"metadata": {"name": topic}, "spec": spec, "status": ready})
    with broker_with_inputs(desk.home / "kafka") as bootstrap:
        desk.environment |= {"TA_KAFKA_BOOTSTRAP": bootstrap, "TA_KAFKA_SECURITY": "PLAINTEXT"}
        start = "torghutctl replay-ta start -e lab --id morning-gap --since 2026-02-11T14:30:00Z --reason 'rows are missing'"
        follow = desk.act(desk.plan(start))
        desk.say("Merged and applied; the job reads from the earliest record in a group of its own.")
        desk.merge()
        group(desk, "torghut-ta-replay-morning-gap", "earliest")
        job(desk, 2)
        desk.run(follow)
        desk.run("torghutctl replay-ta status -e lab --id morning-gap")
        desk.say("It has caught up. The report says what is left to do:")
        follow = desk.act(desk.plan(desk.report()["next"]))
        desk.merge(2)
        group(desk, "torghut-ta", "latest")
        job(desk, 3)
        desk.run(follow)


def group(desk: Desk, name: str, reset: str) -> None:
    """Let the TA's ConfigMap have this group."""
    data = {"TA_GROUP_ID": name, "TA_AUTO_OFFSET_RESET": reset}
    desk.cluster.put(base.CONFIGMAPS, {"kind": "ConfigMap", "metadata": {"name": "torghut-ta-config"}, "data": data})


@contextmanager
def broker_with_inputs(folder: Path) -> Iterator[str]:
    """Start Apache Kafka with the two input topics; yields its address."""
    broker = apache_kafka.Broker(folder)
    broker.start()
    try:
        asyncio.run(_make_inputs(broker.bootstrap))
        yield broker.bootstrap
    finally:
        broker.stop()


async def _make_inputs(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 3, 1) for name in INPUT_TOPICS])
    await admin.close()


@scene(
    "restore-replica",
    "Restore a ClickHouse replica",
    "The replicas lost their metadata in Keeper and are read-only. An emergency step: no pull request, a person acts.",
)
def restore_replica(desk: Desk) -> None:
    bend(desk, "down_clickhouse_readonly")
    step = desk.report()["next"]
    desk.say("The plan is refused as long as something writes:")
    desk.run(step)
    follow = desk.act(desk.plan("torghutctl suspend-ta -e lab --reason 'before restore-replica'"))
    desk.say("Merged and applied:")
    desk.merge()
    job(desk, 1, **SUSPENDED)
    desk.run(follow)
    desk.run(step)

    def run(pod: str, words: list[str]) -> tuple[int, str]:
        is_done = pod.endswith("-0-1-0") and words[-1].endswith("ta_microbars")
        if is_done:
            incidents.set_gauges(desk.cluster, readonly=0)
        return 0, ""

    desk.cluster.run = run
    desk.run(f"{step} --act", PHRASE)
    desk.report()


@scene("kill-switch", "The kill switch in the database", "Orders must stop now, without waiting for git or a rollout.")
def kill_switch(desk: Desk) -> None:
    with paper_account(desk.home / "lab"):
        pass
    desk.say("`--local` is the folder of `torghutctl up`; on a cluster `DB_DSN` names the database instead.")
    line = "torghutctl trading kill-switch on --local lab --reason 'orders that nobody understands'"
    desk.run(line)
    desk.run(f"{line} --act", PHRASE)
    desk.say("When it is understood, and only by a person at a terminal:")
    desk.run("torghutctl trading kill-switch off --local lab --reason 'it was a test order' --act", PHRASE)
    desk.run("torghutctl audit show")


@scene("resume-losses", "Lift the loss latch", "A drawdown has stopped entries, and its cause is understood.")
def resume_losses(desk: Desk) -> None:
    with paper_account(desk.home / "lab") as store:
        store.latch("drawdown", equity=Decimal(91_000), mark=Decimal(100_000), now_ns=parse_ns(base.ago(600)))
    desk.run("torghutctl trading resume-losses --local lab")
    desk.run("torghutctl trading resume-losses --local lab --reason 'the quotes were wrong' --act", PHRASE)


@scene(
    "one-process",
    "As it is shipped",
    "A scheduler trades beside the Knative Service, one process stands in the Flink job's place; it has stalled.",
    is_shipped=True,
)
def one_process(desk: Desk) -> None:
    base_of_shipped(desk)
    incidents.stale(desk.cluster, 1200)
    follow = merged(desk, "Merged and applied; a new pod has caught up.")
    process(desk, restarted_at=desk.at)
    incidents.stale(desk.cluster, 3)
    desk.run(follow)
    desk.say("Trading is paused in the scheduler's Deployment alone; the service only answers.")
    follow = desk.act(desk.plan("torghutctl pause-trading -e lab --reason 'until the gap is looked at'"))
    desk.merge(2)
    scheduler(desk, is_on=False)
    desk.run(follow)
    desk.run("torghutctl status -e lab")


def base_of_shipped(desk: Desk) -> None:
    """Let the cluster be as the shipped manifests make it."""
    cluster = desk.cluster
    cluster.remove(base.FLINK, "torghut-ta")
    for name in (base.JOB_MANAGER, base.TASK_MANAGER):
        cluster.remove(base.PODS, name)
    process(desk, restarted_at="2026-01-05T14:00:00Z")
    revision(desk, 7, TRADING_ENABLED="false")
    incidents.add_scheduler(cluster)
    scheduler(desk, is_on=True)


def process(desk: Desk, restarted_at: str) -> None:
    """Let the TA run as one process, its pods made at this time."""
    made = base.forwarder()
    made["metadata"]["name"] = "torghut-ta"
    made["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": restarted_at}
    desk.cluster.put(base.DEPLOYMENTS, made)
    name = "torghut-ta-6f5d-p"
    desk.cluster.put(base.PODS, base.pod(name, {"app": "torghut-ta"}, container="ta"))
    desk.cluster.services[f"pods/{name}:8080/readyz"] = (200, {"status": "ready", "ready": True})
    desk.cluster.logs[name, "ta", False] = "started\n"


def scheduler(desk: Desk, *, is_on: bool) -> None:
    """Let the scheduler's Deployment be rolled out with the switch so; its process says so, and the service repeats it."""
    made = desk.cluster.get(base.DEPLOYMENTS, "torghut-scheduler")
    container = {"name": "scheduler", "image": base.IMAGE, "env": env(TRADING_ENABLED=str(is_on).lower())}
    made["spec"]["template"]["spec"]["containers"] = [container]
    status = base.trading_status(enabled=is_on, running=is_on)
    status["llm"]["enabled"] = True
    desk.cluster.services[f"pods/{incidents.SCHEDULER_POD}:8183/trading/status"] = (200, status)
    desk.cluster.services[base.STATUS.format("torghut-00007-deployment-dddd")] = (200, status)


@scene("runbook", "Nothing but a runbook", "Alpaca refuses the key: no procedure mends this, a person does.")
def runbook(desk: Desk) -> None:
    bend(desk, "down_forwarder_auth")
    desk.run(desk.report()["next"])


@scene("audit", "Look back", "What was done, on which plan and why; and what the system looked like then.")
def audit(desk: Desk) -> None:
    revision(desk, 8)
    desk.run("torghutctl snapshot incident.tar.gz -e lab")
    desk.run("torghutctl health-report --from-snapshot incident.tar.gz", most=14)
    line = "torghutctl pause-trading -e lab --reason 'a release that misbehaves' --ticket OPS-7 --pr"
    desk.run(line, PHRASE, most=6)
    desk.run("torghutctl audit show")
    desk.run(f"torghutctl audit verify --repo {desk.gitops.bare}")
