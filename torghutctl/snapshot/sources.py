"""The names of all sources, and what reading each one takes: component, whether it is required, and the RBAC rule.

A name ending in `/` heads a family: one reading per pod, container or symbol (`forwarder/readyz/torghut-ws-abc`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FORWARDER_DEPLOYMENT = "forwarder/deployment"
FORWARDER_CONFIG = "forwarder/configmap"
FORWARDER_READY = "forwarder/readyz/"
PODS = "pods"
TA_DEPLOYMENT = "ta/flinkdeployment"
TA_CONFIG = "ta/configmap"
TA_PROCESS = "ta/deployment"
TA_READY = "ta/readyz"
TA_POD_READY = "ta/readyz/"
TA_CHECKPOINTS = "ta/checkpoints"
TA_EXCEPTIONS = "ta/exceptions"
CLICKHOUSE_GAUGES = "clickhouse/gauges"
CLICKHOUSE_INSTALLATION = "clickhouse/installation"
CLICKHOUSE_TABLES = "clickhouse/tables"
KEEPER_INSTALLATION = "keeper/installation"
POSTGRES_CLUSTER = "postgres/cluster"
TRADING_SERVICE = "trading/service"
TRADING_CONFIGURATION = "trading/configuration"
TRADING_REVISIONS = "trading/revisions"
TRADING_STATUS = "trading/status/"
TRADING_HEALTH = "trading/health/"
TRADING_SCHEDULER = "trading/scheduler"
TRADING_STRATEGIES = "trading/configmap"
KAFKA_CLUSTER = "kafka/cluster"
KAFKA_PODS = "kafka/pods"
KAFKA_TOPICS = "kafka/topics"
KAFKA_USERS = "kafka/users"
KAFKA_REPLAY = "kafka/replay"
STORAGE_PODS = "storage/pods"
ARGOCD_APPLICATION = "argocd/application"
SYMBOLS = "freshness/symbols"
LATEST = "freshness/latest/"
EVENTS = "events"
ENDPOINTSLICES = "endpointslices"
BUDGETS = "poddisruptionbudgets"
LOGS = "logs/"
LOGS_PREVIOUS = "logs-previous/"
DESIRED = "git/desired"
LOCAL = "local/endpoints"
OPERATOR = "operator"
ACCESS = "access"


class Where(StrEnum):
    """The namespace a rule of the Role belongs to."""

    SYSTEM = "namespace"
    KAFKA = "kafka namespace"
    ARGOCD = "argocd namespace"


@dataclass(frozen=True, kw_only=True)
class Access:
    """One permission: verbs on a resource of an API group, in one namespace."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    where: Where = Where.SYSTEM


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is known beforehand of a source (or of a family of them)."""

    name: str
    component: str
    reads: str
    access: Access | None = None
    is_required: bool = False
    may_be_absent: bool = False
    """Whether its absence (404) is an ordinary state that needs no mention."""
    replaced_by: str | None = None
    """Another source: where that is there, this one's absence needs no mention either."""


def _get(group: str, resource: str, where: Where = Where.SYSTEM) -> Access:
    return Access(group=group, resource=resource, verbs=("get",), where=where)


def _list(group: str, resource: str, where: Where = Where.SYSTEM) -> Access:
    return Access(group=group, resource=resource, verbs=("list",), where=where)


SOURCES: tuple[Source, ...] = (
    Source(
        name=PODS, component="forwarder", reads="pods with container states", access=_list("", "pods"), is_required=True
    ),
    Source(
        name=FORWARDER_DEPLOYMENT,
        component="forwarder",
        reads="the forwarder's Deployment",
        access=_get("apps", "deployments"),
        is_required=True,
    ),
    Source(
        name=FORWARDER_READY,
        component="forwarder",
        reads="/readyz of each running forwarder pod",
        access=_get("", "pods/proxy"),
        is_required=True,
    ),
    Source(
        name=FORWARDER_CONFIG, component="forwarder", reads="the forwarder's ConfigMap", access=_get("", "configmaps")
    ),
    Source(
        name=TA_DEPLOYMENT,
        component="ta",
        reads="the FlinkDeployment",
        access=_get("flink.apache.org", "flinkdeployments"),
        is_required=True,
        replaced_by=TA_PROCESS,
    ),
    Source(
        name=TA_PROCESS,
        component="ta",
        reads="the Deployment of the one-process TA, where it stands in the FlinkDeployment's place",
        access=_get("apps", "deployments"),
        may_be_absent=True,
    ),
    Source(name=TA_READY, component="ta", reads="/readyz of the one-process TA (local target)", is_required=True),
    Source(
        name=TA_POD_READY,
        component="ta",
        reads="/readyz of each running pod of the one-process TA",
        access=_get("", "pods/proxy"),
        is_required=True,
    ),
    Source(name=TA_CONFIG, component="ta", reads="the TA's ConfigMap", access=_get("", "configmaps")),
    Source(
        name=TA_CHECKPOINTS,
        component="ta",
        reads="Flink REST: checkpoints",
        access=_get("", "services/proxy"),
    ),
    Source(
        name=TA_EXCEPTIONS,
        component="ta",
        reads="Flink REST: exceptions",
        access=_get("", "services/proxy"),
    ),
    Source(
        name=CLICKHOUSE_GAUGES,
        component="clickhouse",
        reads="the guardrail gauges",
        access=_get("", "services/proxy"),
        is_required=True,
    ),
    Source(
        name=CLICKHOUSE_INSTALLATION,
        component="clickhouse",
        reads="the ClickHouseInstallation",
        access=_get("clickhouse.altinity.com", "clickhouseinstallations"),
    ),
    Source(
        name=CLICKHOUSE_TABLES, component="clickhouse", reads="table engines, when credentials are in the environment"
    ),
    Source(
        name=ENDPOINTSLICES,
        component="clickhouse",
        reads="EndpointSlices",
        access=_list("discovery.k8s.io", "endpointslices"),
    ),
    Source(
        name=KEEPER_INSTALLATION,
        component="keeper",
        reads="the ClickHouseKeeperInstallations",
        access=_list("clickhouse-keeper.altinity.com", "clickhousekeeperinstallations"),
    ),
    Source(
        name=BUDGETS, component="keeper", reads="PodDisruptionBudgets", access=_list("policy", "poddisruptionbudgets")
    ),
    Source(
        name=POSTGRES_CLUSTER,
        component="postgres",
        reads="the CloudNativePG Cluster",
        access=_get("postgresql.cnpg.io", "clusters"),
        is_required=True,
    ),
    Source(
        name=TRADING_SERVICE,
        component="trading",
        reads="the Knative Service",
        access=_get("serving.knative.dev", "services"),
        is_required=True,
    ),
    Source(
        name=TRADING_STATUS,
        component="trading",
        reads="/trading/status of each running trading pod",
        access=_get("", "pods/proxy"),
        is_required=True,
    ),
    Source(
        name=TRADING_HEALTH,
        component="trading",
        reads="/trading/health of each running trading pod, where it has one",
        access=_get("", "pods/proxy"),
        may_be_absent=True,
    ),
    Source(
        name=TRADING_CONFIGURATION,
        component="trading",
        reads="the Knative Configuration",
        access=_get("serving.knative.dev", "configurations"),
    ),
    Source(
        name=TRADING_REVISIONS,
        component="trading",
        reads="the Knative Revisions",
        access=_list("serving.knative.dev", "revisions"),
    ),
    Source(
        name=TRADING_SCHEDULER,
        component="trading",
        reads="the Deployment torghut-scheduler, where there is one",
        access=_get("apps", "deployments"),
        may_be_absent=True,
    ),
    Source(
        name=TRADING_STRATEGIES, component="trading", reads="the strategies' ConfigMap", access=_get("", "configmaps")
    ),
    Source(name=EVENTS, component="trading", reads="Events", access=_list("", "events")),
    Source(
        name=LOGS,
        component="trading",
        reads="pod logs, the last 200 lines",
        access=_get("", "pods/log"),
        may_be_absent=True,
    ),
    Source(
        name=LOGS_PREVIOUS,
        component="trading",
        reads="logs of the container before the last restart",
        access=_get("", "pods/log"),
        may_be_absent=True,
    ),
    Source(
        name=KAFKA_CLUSTER,
        component="kafka",
        reads="the Strimzi Kafka",
        access=_get("kafka.strimzi.io", "kafkas", Where.KAFKA),
    ),
    Source(name=KAFKA_PODS, component="kafka", reads="the brokers' pods", access=_list("", "pods", Where.KAFKA)),
    Source(
        name=KAFKA_TOPICS,
        component="kafka",
        reads="KafkaTopics",
        access=_list("kafka.strimzi.io", "kafkatopics", Where.KAFKA),
    ),
    Source(
        name=KAFKA_USERS,
        component="kafka",
        reads="KafkaUsers",
        access=_list("kafka.strimzi.io", "kafkausers", Where.KAFKA),
    ),
    Source(name=KAFKA_REPLAY, component="kafka", reads="a replay's group and what the input topics hold"),
    Source(name=STORAGE_PODS, component="ta", reads="the object storage's pods, for a replay from scratch alone"),
    Source(
        name=ARGOCD_APPLICATION,
        component="argocd",
        reads="the Application",
        access=_get("argoproj.io", "applications", Where.ARGOCD),
        is_required=True,
    ),
    Source(
        name=SYMBOLS,
        component="freshness",
        reads="the universe, from the visuals API",
        access=_get("", "services/proxy"),
    ),
    Source(
        name=LATEST,
        component="freshness",
        reads="ta/latest of every symbol of the universe; one of them is needed",
        access=_get("", "services/proxy"),
        is_required=True,
    ),
    Source(name=DESIRED, component="argocd", reads="what git wants, when a repository is known"),
    Source(name=OPERATOR, component="argocd", reads="environment and repository the reader was given"),
    Source(name=ACCESS, component="argocd", reads="the API server that was asked, and what named it"),
    Source(name=LOCAL, component="forwarder", reads="endpoints.json of `up` or `demo`"),
)
TOLD = frozenset({OPERATOR, ACCESS, LOCAL, DESIRED})
"""What does not come from the running system: what the reader was told, and git."""
_BY_NAME = {source.name: source for source in SOURCES}


def is_known(name: str) -> bool:
    """Tell whether `name` is a source's, or a member's of a family."""
    return name in _BY_NAME or any(family.endswith("/") and name.startswith(family) for family in _BY_NAME)


def describe(name: str) -> Source:
    """Return what is known of the source `name`, a member of a family included. Raises KeyError for an unknown one."""
    found = _BY_NAME.get(name)
    if found is not None:
        return found
    head = max((family for family in _BY_NAME if family.endswith("/") and name.startswith(family)), key=len)
    return _BY_NAME[head]
