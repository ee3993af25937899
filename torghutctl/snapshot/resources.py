"""What is kept of custom resources: Flink, Knative, ClickHouse and Keeper, CloudNativePG, Strimzi, Argo CD.

Field names are those of each operator's CRD schema; states stay the operator's words, and an unknown one is marked.
"""

from __future__ import annotations

import re
from typing import Any

from torghutctl.snapshot import kept
from torghutctl.snapshot.workloads import container_settings

_JOB_STATES = (
    "INITIALIZING", "CREATED", "RUNNING", "FAILING", "FAILED", "CANCELLING", "CANCELED", "FINISHED", "RESTARTING",
    "SUSPENDED", "RECONCILING",
)  # fmt: skip
_LIFECYCLES = (
    "CREATED", "SUSPENDED", "UPGRADING", "DEPLOYED", "STABLE", "ROLLING_BACK", "ROLLED_BACK", "FAILED", "DELETING", "DELETED",
)  # fmt: skip
_MANAGER_STATES = ("READY", "DEPLOYED_NOT_READY", "DEPLOYING", "MISSING", "ERROR")
CNPG_PHASES = (
    "Cluster in healthy state",
    "Setting up primary",
    "Creating a new replica",
    "Upgrading cluster",
    "Waiting for the instances to become active",
    "Applying configuration",
    "Online upgrade in progress",
    "Switchover in progress",
    "Primary instance is being restarted in-place",
    "Primary instance is being restarted without a switchover",
    "Promoting to primary cluster",
    "Failing over",
    "Waiting for user action",
    "Cluster upgrade delayed",
    "Unable to create required cluster objects",
)
_SYNC = ("Synced", "OutOfSync", "Unknown")
_HEALTH = ("Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown")
_OPERATION = ("Running", "Terminating", "Succeeded", "Failed", "Error")
_REVISION_HASH = re.compile(r"[0-9a-f]{7,64}")


def flink_deployment(item: dict[str, Any]) -> dict[str, Any]:
    """Return wanted job state, nonce and upgrade mode, and the operator's view of job, manager and reconciliation."""
    spec, status = kept.table(item["spec"]), kept.table(item.get("status"))
    job, wanted = kept.table(status.get("jobStatus")), kept.table(spec.get("job"))
    reconciliation = kept.table(status.get("reconciliationStatus"))
    job_id = job.get("jobId")
    return {
        **kept.metadata(item.get("metadata")),
        "wantedState": kept.one_of(wanted.get("state"), ("running", "suspended")) or "running",
        "upgradeMode": kept.one_of(wanted.get("upgradeMode"), ("stateless", "last-state", "savepoint")),
        "restartNonce": kept.count(spec.get("restartNonce")),
        "image": kept.image(spec.get("image")),
        "lifecycle": kept.one_of(status.get("lifecycleState"), _LIFECYCLES),
        "manager": kept.one_of(status.get("jobManagerDeploymentStatus"), _MANAGER_STATES),
        "job": kept.one_of(job.get("state"), _JOB_STATES),
        "jobId": job_id if isinstance(job_id, str) and re.fullmatch(r"[0-9a-f]{32}", job_id) else None,
        "jobUpdated": kept.when(job.get("updateTime")),
        "jobStarted": kept.when(job.get("startTime")),
        "reconciliation": kept.one_of(reconciliation.get("state"), _LIFECYCLES),
        "reconciled": kept.when(reconciliation.get("reconciliationTimestamp")),
        "observedGeneration": kept.count(status.get("observedGeneration")),
        "hasError": bool(status.get("error")),
        "errorSignatures": kept.signatures(status.get("error")),
    }


def knative_service(item: dict[str, Any]) -> dict[str, Any]:
    """Return conditions, newest created and ready revision, traffic, image and switches."""
    status = kept.table(item["status"])
    template = kept.table(kept.table(item.get("spec")).get("template"))
    return {
        **kept.metadata(item.get("metadata")),
        "observedGeneration": kept.count(status.get("observedGeneration")),
        "conditions": kept.conditions(status.get("conditions")),
        "newestCreated": kept.name(status.get("latestCreatedRevisionName")),
        "newestReady": kept.name(status.get("latestReadyRevisionName")),
        "traffic": [
            {"revision": kept.name(entry.get("revisionName")), "percent": kept.count(entry.get("percent")) or 0}
            for entry in kept.objects(status.get("traffic"))
        ],
        **container_settings(template.get("spec")),
    }


def knative_revision(item: dict[str, Any]) -> dict[str, Any]:
    """Return a Revision's conditions, image (as resolved, when it is) and switches."""
    status = kept.table(item.get("status"))
    resolved = [kept.image(entry.get("imageDigest")) for entry in kept.objects(status.get("containerStatuses"))]
    return {
        **kept.metadata(item.get("metadata")),
        "conditions": kept.conditions(status.get("conditions")),
        "actualReplicas": kept.count(status.get("actualReplicas")),
        "resolvedImage": next((entry for entry in resolved if entry), None),
        **container_settings(item.get("spec")),
    }


def knative_configuration(item: dict[str, Any]) -> dict[str, Any]:
    """Return a Configuration's conditions and newest revisions."""
    status = kept.table(item.get("status"))
    return {
        **kept.metadata(item.get("metadata")),
        "conditions": kept.conditions(status.get("conditions")),
        "newestCreated": kept.name(status.get("latestCreatedRevisionName")),
        "newestReady": kept.name(status.get("latestReadyRevisionName")),
    }


def altinity_installation(item: dict[str, Any]) -> dict[str, Any]:
    """Return a ClickHouse or Keeper installation's status word and host counts."""
    status = kept.table(item.get("status"))
    return {
        **kept.metadata(item.get("metadata")),
        "status": kept.one_of(status.get("status"), ("InProgress", "Completed", "Aborted", "Terminating")),
        "hosts": kept.count(status.get("hosts")),
        "hostsCompleted": kept.count(status.get("hostsCompleted")),
        "hasError": bool(status.get("error") or status.get("errors")),
    }


def cnpg_cluster(item: dict[str, Any]) -> dict[str, Any]:
    """Return phase, instance counts, primaries and conditions; an absent `readyInstances` means none (Go omits zero)."""
    spec, status = kept.table(item["spec"]), kept.table(item["status"])
    phase = status.get("phase")
    return {
        **kept.metadata(item.get("metadata")),
        "wantedInstances": kept.count(spec.get("instances")),
        "instances": kept.count(status.get("instances")) or 0,
        "readyInstances": kept.count(status.get("readyInstances")) or 0,
        "phase": kept.one_of(phase, CNPG_PHASES),
        "isUnrecoverable": isinstance(phase, str) and "unrecoverable" in phase.lower(),
        "currentPrimary": kept.name(status.get("currentPrimary")),
        "targetPrimary": kept.name(status.get("targetPrimary")),
        "conditions": kept.conditions(status.get("conditions")),
        "hasBackup": isinstance(spec.get("backup"), dict),
        "lastSuccessfulBackup": kept.when(status.get("lastSuccessfulBackup")),
    }


def kafka_cluster(item: dict[str, Any]) -> dict[str, Any]:
    """Return a Strimzi Kafka's conditions."""
    return {
        **kept.metadata(item.get("metadata")),
        "conditions": kept.conditions(kept.table(item["status"]).get("conditions")),
    }


def kafka_topic(item: dict[str, Any]) -> dict[str, Any]:
    """Return a topic's wanted shape and conditions."""
    spec = kept.table(item.get("spec"))
    retention = kept.table(spec.get("config")).get("retention.ms")
    return {
        **kept.metadata(item.get("metadata")),
        "topic": kept.name(spec.get("topicName")) or kept.metadata(item.get("metadata"))["name"],
        "partitions": kept.count(spec.get("partitions")),
        "replicas": kept.count(spec.get("replicas")),
        "retentionMs": int(retention) if isinstance(retention, str) and retention.isdigit() else kept.count(retention),
        "conditions": kept.conditions(kept.table(item.get("status")).get("conditions")),
    }


def kafka_user(item: dict[str, Any]) -> dict[str, Any]:
    """Return a KafkaUser's conditions."""
    return {
        **kept.metadata(item.get("metadata")),
        "conditions": kept.conditions(kept.table(item.get("status")).get("conditions")),
    }


def argocd_application(item: dict[str, Any]) -> dict[str, Any]:
    """Return sync, health and last operation with their times, and the resources that are not as git wants them."""
    spec, status = kept.table(item["spec"]), kept.table(item["status"])
    sync, health = kept.table(status["sync"]), kept.table(status.get("health"))
    operation = kept.table(status.get("operationState"))
    history = kept.objects(status.get("history"))
    return {
        **kept.metadata(item.get("metadata")),
        "isAutoSynced": isinstance(kept.table(spec.get("syncPolicy")).get("automated"), dict),
        "sync": kept.one_of(sync.get("status"), _SYNC),
        "revision": _commit(sync.get("revision")),
        "health": kept.one_of(health.get("status"), _HEALTH),
        "healthSince": kept.when(health.get("lastTransitionTime")),
        "operation": kept.one_of(operation.get("phase"), _OPERATION),
        "operationStarted": kept.when(operation.get("startedAt")),
        "operationFinished": kept.when(operation.get("finishedAt")),
        "operationSignatures": kept.signatures(operation.get("message")),
        "conditions": kept.conditions(status.get("conditions")),
        "reconciled": kept.when(status.get("reconciledAt")),
        "deployed": kept.when(history[-1].get("deployedAt")) if history else None,
        "deviating": [
            {
                "kind": kept.word(entry.get("kind")),
                "name": kept.name(entry.get("name")),
                "sync": kept.one_of(entry.get("status"), _SYNC),
                "health": kept.one_of(kept.table(entry.get("health")).get("status"), _HEALTH),
            }
            for entry in kept.objects(status.get("resources"))
            if entry.get("status") != "Synced" or kept.table(entry.get("health")).get("status") not in (None, "Healthy")
        ],
    }


def _commit(value: Any) -> str | None:
    return value if isinstance(value, str) and _REVISION_HASH.fullmatch(value) else None
