"""Reads a cluster: at once what has a known name; what a reading names, the moment that reading is there.

Only three kinds of source depend on another one: what a pod answers and logs (on the list of pods), Flink's REST (on the
FlinkDeployment, which holds the job's id), `ta/latest` (on the universe). No chain is longer than two.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from torghutctl.adapters.http_client import Answer, ExchangeError
from torghutctl.adapters.kubernetes_client import KubernetesReader, connect
from torghutctl.snapshot import clickhouse_server, desired, facts, kafka_server, resources, services, sources, workloads
from torghutctl.snapshot.api_versions import ServedVersions
from torghutctl.snapshot.collector import Task, collect
from torghutctl.snapshot.http import ReadError, from_exchange, mapping, parse_json, refuse_status
from torghutctl.snapshot.kept import MisusedFieldError
from torghutctl.snapshot.model import Failure, Names, Reading, Snapshot
from torghutctl.snapshot.seal import seal
from torghutctl.snapshot.target import Target

FORWARDER_PORT = 8080
TA_PORT = 8080
TRADING_PORT = 8181
SCHEDULER_PORT = 8183
VISUALS = (facts.VISUALS, 8090)
GUARDRAILS_PORT = 9108
FLINK_PORT = 8081
LOG_LINES = 200
_PAGE = 500
_MAX_PAGES = 40
_EXPIRED = 410
_LOG_BYTES = 1_000_000
_SYMBOL_CHARACTERS = ":"
_VERSION = "{version}"
"""Stands in a path for the version that the cluster serves of its group."""


def read(
    target: Target,
    *,
    observed_at_ns: int,
    process: Mapping[str, str],
    deadline_s: float,
    tell: Callable[[str], None] = lambda _: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Snapshot:
    """Return everything the cluster answers, each source within `deadline_s` seconds.

    Raises ConfigurationError when no kubeconfig can be used; whatever fails after that is a reading.
    """
    client = connect(kubeconfig=target.kubeconfig, context=target.context, environment=process)
    try:
        tasks = [
            *ClusterReader(client, target.names).tasks(target.storage_namespace),
            *clickhouse_server.tasks(process),
            *kafka_server.tasks(process, target.replay_group),
            *desired.tasks(target.repo, target.base, target.gitops_path, target.names, target.credential),
        ]
        readings = collect(tasks, deadline_s=deadline_s, monotonic=monotonic, tell=tell)
    finally:
        client.close()
    access = {"server": client.server, "where": client.where}
    readings = {**readings, sources.ACCESS: Reading(source=sources.ACCESS, value=access)}
    credentials = [*client.credentials, *([target.credential.token] if target.credential is not None else [])]
    return seal(
        observed_at_ns=observed_at_ns,
        names=target.names,
        target="cluster",
        readings=readings,
        credentials=credentials,
    )


class ClusterReader:
    """The tasks that read one system's resources through one API server."""

    def __init__(self, client: KubernetesReader, names: Names) -> None:
        self._client = client
        self._names = names
        self._served = ServedVersions(client)
        self._process_pods = threading.Lock()
        self._seen: dict[str, Reading] = {}

    def tasks(self, storage_namespace: str | None = None) -> list[Task]:
        """Return what can be asked at once; what follows from a reading is in its task."""
        storage = f"/api/v1/namespaces/{quote(storage_namespace or '')}/pods"
        names, here = self._names, self._names.namespace
        kafka, argocd = names.kafka_namespace, names.argocd_namespace
        knative, strimzi = "serving.knative.dev", "kafka.strimzi.io"
        core = f"/api/v1/namespaces/{here}"
        return [
            *([self._list(sources.STORAGE_PODS, storage, workloads.pod, "PodList")] if storage_namespace else []),
            self._list(sources.PODS, f"{core}/pods", workloads.pod, "PodList", then=self._of_pods),
            self._get(
                sources.FORWARDER_DEPLOYMENT,
                _named("apps", here, "deployments", names.ws_deployment),
                workloads.deployment,
            ),
            self._get(
                sources.TRADING_SCHEDULER, _named("apps", here, "deployments", facts.SCHEDULER), workloads.deployment
            ),
            self._get(
                sources.TA_DEPLOYMENT,
                _named("flink.apache.org", here, "flinkdeployments", names.flink_deployment),
                resources.flink_deployment,
                then=self._of_job,
            ),
            self._get(
                sources.TA_PROCESS,
                _named("apps", here, "deployments", names.flink_deployment),
                workloads.deployment,
                then=self._of_process,
            ),
            self._get(
                sources.FORWARDER_CONFIG, f"{core}/configmaps/{quote(names.ws_deployment)}-config", workloads.configmap
            ),
            self._get(
                sources.TA_CONFIG, f"{core}/configmaps/{quote(names.flink_deployment)}-config", workloads.configmap
            ),
            self._get(
                sources.TRADING_STRATEGIES,
                f"{core}/configmaps/{quote(names.service)}-strategy-config",
                workloads.configmap,
            ),
            self._get(
                sources.TRADING_SERVICE, _named(knative, here, "services", names.service), resources.knative_service
            ),
            self._get(
                sources.TRADING_CONFIGURATION,
                _named(knative, here, "configurations", names.service),
                resources.knative_configuration,
            ),
            self._list(
                sources.TRADING_REVISIONS,
                _collection(knative, here, "revisions"),
                resources.knative_revision,
                "RevisionList",
                query={"labelSelector": f"serving.knative.dev/service={names.service}"},
            ),
            self._get(
                sources.CLICKHOUSE_INSTALLATION,
                _named("clickhouse.altinity.com", here, "clickhouseinstallations", names.clickhouse_service),
                resources.altinity_installation,
            ),
            self._list(
                sources.KEEPER_INSTALLATION,
                _collection("clickhouse-keeper.altinity.com", here, "clickhousekeeperinstallations"),
                resources.altinity_installation,
                "ClickHouseKeeperInstallationList",
            ),
            self._get(
                sources.POSTGRES_CLUSTER,
                _named("postgresql.cnpg.io", here, "clusters", names.cnpg_cluster),
                resources.cnpg_cluster,
            ),
            self._get(
                sources.KAFKA_CLUSTER,
                _named(strimzi, kafka, "kafkas", "kafka"),
                resources.kafka_cluster,
            ),
            self._list(sources.KAFKA_PODS, f"/api/v1/namespaces/{kafka}/pods", workloads.pod, "PodList"),
            self._list(
                sources.KAFKA_TOPICS,
                _collection(strimzi, kafka, "kafkatopics"),
                resources.kafka_topic,
                "KafkaTopicList",
            ),
            self._list(
                sources.KAFKA_USERS,
                _collection(strimzi, kafka, "kafkausers"),
                resources.kafka_user,
                "KafkaUserList",
            ),
            self._get(
                sources.ARGOCD_APPLICATION,
                _named("argoproj.io", argocd, "applications", names.argocd_application),
                resources.argocd_application,
            ),
            self._list(sources.EVENTS, f"{core}/events", workloads.event, "EventList"),
            self._list(
                sources.ENDPOINTSLICES,
                _collection("discovery.k8s.io", here, "endpointslices"),
                workloads.endpointslice,
                "EndpointSliceList",
            ),
            self._list(
                sources.BUDGETS,
                _collection("policy", here, "poddisruptionbudgets"),
                workloads.disruption_budget,
                "PodDisruptionBudgetList",
            ),
            self._answer(
                sources.CLICKHOUSE_GAUGES, self._service(names.guardrails, GUARDRAILS_PORT, "metrics"), services.gauges
            ),
            self._answer(
                sources.SYMBOLS, self._service(*VISUALS, "api/torghut/symbols"), services.symbols, then=self._of_symbols
            ),
        ]

    def _of_pods(self, reading: Reading) -> list[Task]:
        """Return what running pods can be asked, and the logs of the pods that matter."""
        snapshot = Snapshot(observed_at_ns=0, names=self._names, readings={sources.PODS: reading})
        found = facts.Facts(snapshot)
        schedulers = tuple(item for item in found.pods() or () if facts.belongs_to(item, facts.SCHEDULER))
        tasks = []
        for pod in found.forwarder_pods():
            if pod.is_running:
                path = self._pod(pod.name, FORWARDER_PORT, "readyz")
                tasks.append(self._answer(f"{sources.FORWARDER_READY}{pod.name}", path, services.forwarder_ready))
        for pods, port in ((found.trading_pods(), TRADING_PORT), (schedulers, SCHEDULER_PORT)):
            for pod in pods:
                if pod.is_running:
                    status, health = (self._pod(pod.name, port, f"trading/{what}") for what in ("status", "health"))
                    tasks.append(self._answer(f"{sources.TRADING_STATUS}{pod.name}", status, services.trading_status))
                    tasks.append(self._answer(f"{sources.TRADING_HEALTH}{pod.name}", health, services.trading_health))
        speaking = (*found.forwarder_pods(), *found.ta_pods(), *found.trading_pods(), *schedulers)
        tasks += self._process_ready(sources.PODS, reading)
        return [*tasks, *(task for pod in speaking if pod.is_alive for task in self._logs(pod))]

    def _of_process(self, reading: Reading) -> list[Task]:
        return self._process_ready(sources.TA_PROCESS, reading)

    def _process_ready(self, source: str, reading: Reading) -> list[Task]:
        """Return what the one-process TA's pods are asked, once both its Deployment and the list of pods are there."""
        with self._process_pods:
            self._seen[source] = reading
            if len(self._seen) < 2 or not self._seen[sources.TA_PROCESS].is_ok:
                return []
            snapshot = Snapshot(observed_at_ns=0, names=self._names, readings=dict(self._seen))
        running = [pod for pod in facts.Facts(snapshot).ta_pods() if pod.is_running]
        return [
            self._answer(f"{sources.TA_POD_READY}{pod.name}", self._pod(pod.name, TA_PORT, "readyz"), services.ta_ready)
            for pod in running
        ]

    def _logs(self, pod: facts.PodFact) -> list[Task]:
        tasks = []
        path = f"/api/v1/namespaces/{self._names.namespace}/pods/{quote(pod.name)}/log"
        query = {"tailLines": str(LOG_LINES), "limitBytes": str(_LOG_BYTES)}
        for container in pod.containers:
            if container.name in workloads.SIDECARS or container.is_init:
                continue
            own = {"container": container.name, **query}
            has_ended = container.restarts > 0 or container.reason == "CrashLoopBackOff"
            if has_ended or container.state in ("running", "terminated"):
                source = f"{sources.LOGS}{pod.name}/{container.name}"
                tasks.append(self._answer(source, path, services.log_signatures, query=own))
            if has_ended:
                source = f"{sources.LOGS_PREVIOUS}{pod.name}/{container.name}"
                previous = {**own, "previous": "true"}
                tasks.append(self._answer(source, path, services.log_signatures, query=previous))
        return tasks

    def _of_job(self, reading: Reading) -> list[Task]:
        job_id = (reading.value or {}).get("jobId")
        if job_id is None:
            return []
        rest = f"{self._names.flink_deployment}-rest"
        return [
            self._answer(
                sources.TA_CHECKPOINTS,
                self._service(rest, FLINK_PORT, f"jobs/{job_id}/checkpoints"),
                services.flink_checkpoints,
            ),
            self._answer(
                sources.TA_EXCEPTIONS,
                self._service(rest, FLINK_PORT, f"jobs/{job_id}/exceptions"),
                services.flink_exceptions,
            ),
        ]

    def _of_symbols(self, reading: Reading) -> list[Task]:
        path = self._service(*VISUALS, "api/torghut/ta/latest")
        return [
            self._answer(
                f"{sources.LATEST}{quote(symbol, safe=_SYMBOL_CHARACTERS)}",
                path,
                services.ta_latest,
                query={"symbol": symbol},
            )
            for symbol in reading.value or []
        ]

    def _service(self, name: str, port: int, path: str) -> str:
        return f"/api/v1/namespaces/{self._names.namespace}/services/{quote(name)}:{port}/proxy/{path}"

    def _pod(self, name: str, port: int, path: str) -> str:
        return f"/api/v1/namespaces/{self._names.namespace}/pods/{quote(name)}:{port}/proxy/{path}"

    def _answer(
        self,
        source: str,
        path: str,
        parse: Callable[[Answer], Any],
        *,
        query: Mapping[str, str] | None = None,
        then: Callable[[Reading], list[Task]] | None = None,
    ) -> Task:
        def ask(seconds: float) -> Any:
            return parse(self._ask(path, query, seconds))

        return Task(source=source, read=ask, then=then, may_be_absent=sources.describe(source).may_be_absent)

    def _get(
        self,
        source: str,
        path: str,
        keep: Callable[[dict[str, Any]], Any],
        *,
        then: Callable[[Reading], list[Task]] | None = None,
    ) -> Task:
        def ask(seconds: float) -> Any:
            ends = time.monotonic() + seconds
            served = self._at_served_version(path, seconds)
            answer = self._ask(served, None, ends - time.monotonic())
            refuse_status(answer)
            item = mapping(parse_json(answer))
            wanted = path.rsplit("/", 1)[1]
            if mapping(item.get("metadata"), "`metadata`").get("name") != wanted:
                raise ReadError(Failure.UNPARSABLE, "the answer is not the object asked for")
            return _kept(keep, item)

        return Task(source=source, read=ask, then=then, may_be_absent=sources.describe(source).may_be_absent)

    def _list(
        self,
        source: str,
        path: str,
        keep: Callable[[dict[str, Any]], Any],
        kind: str,
        *,
        query: Mapping[str, str] | None = None,
        then: Callable[[Reading], list[Task]] | None = None,
    ) -> Task:
        def ask(seconds: float) -> Any:
            ends = time.monotonic() + seconds
            served = self._at_served_version(path, seconds)
            found: list[Any] = []
            token = ""
            for _ in range(_MAX_PAGES):
                page = {**(query or {}), "limit": str(_PAGE), **({"continue": token} if token else {})}
                answer = self._ask(served, page, ends - time.monotonic())
                if answer.status == _EXPIRED and token:  # the list moved on between two pages: begin again
                    found, token = [], ""
                    continue
                refuse_status(answer)
                body = mapping(parse_json(answer))
                if body.get("kind", kind) not in (kind, "List") or not isinstance(body.get("items"), list):
                    raise ReadError(Failure.UNPARSABLE, f"the answer is not a {kind}")
                found += [_kept(keep, mapping(item, "an item")) for item in body["items"]]
                token = str(mapping(body.get("metadata") or {}, "`metadata`").get("continue") or "")
                if not token:
                    return sorted(found, key=lambda item: json.dumps(item, sort_keys=True))
            raise ReadError(Failure.UNPARSABLE, f"the list has over {_PAGE * _MAX_PAGES} entries")

        return Task(source=source, read=ask, then=then, may_be_absent=sources.describe(source).may_be_absent)

    def _at_served_version(self, path: str, seconds: float) -> str:
        if _VERSION not in path:
            return path
        group = path.split("/")[2]
        return path.replace(_VERSION, self._served.version(group, seconds), 1)

    def _ask(self, path: str, query: Mapping[str, str] | None, seconds: float) -> Answer:
        try:
            return self._client.get(path, query, deadline_s=seconds)
        except ExchangeError as error:
            raise from_exchange(error) from error


def _kept(keep: Callable[[dict[str, Any]], Any], item: dict[str, Any]) -> Any:
    try:
        return keep(item)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = str(error) if isinstance(error, MisusedFieldError) else type(error).__name__
        raise ReadError(Failure.UNPARSABLE, f"the object lacks or misuses a field ({what})") from error


def _collection(group: str, namespace: str, resource: str) -> str:
    """Return the path of a collection; its version is put in when it is asked for."""
    return f"/apis/{group}/{_VERSION}/namespaces/{namespace}/{resource}"


def _named(group: str, namespace: str, resource: str, name: str) -> str:
    return f"{_collection(group, namespace, resource)}/{quote(name)}"
