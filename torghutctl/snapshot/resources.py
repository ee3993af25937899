"""What is kept of custom resources: Flink, Knative, ClickHouse and Keeper, CloudNativePG, Strimzi, Argo CD.

Field names are those of each operator's CRD schema; states stay the operator's words, and an unknown one is marked.
"""

from __future__ import annotations

import re
from typing import Any

from torghutctl.snapshot import kept
from torghutctl.snapshot.workloads import container_settings

_TOPIC_SETTING = re.compile(r"[\w.,:*-]{1,64}")
_JOB_STATES = (
    "INITIALIZING", "CREATED", "RUNNING", "FAILING", "FAILED", "CANCELLING", "CANCELED", "FINISHED", "RESTARTING",
    "SUSPENDED", "RECONCILING",
)  # fmt: skip
_LIFECYCLES = (
    "CREATED", "SUSPENDED", "UPGRADING", "DEPLOYED", "STABLE", "ROLLING_BACK", "ROLLED_BACK", "FAILED", "DELETING", "DELETED",
)  # fmt: skip
_MANAGER_STATES = ("READY", "DEPLOYED_NOT_READY", "DEPLOYING", "MISSING", "ERROR")
_UNRECOVERABLE = "unrecoverable"
"""Its sentence differs by version; the word does not."""
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
    "Upgrading Postgres major version",
    "Invalid cluster definition",
    "Cluster has incomplete or invalid image catalog",
    "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
    "Cluster cannot proceed to reconciliation due to an error while interacting with plugins",
    "Cluster cannot execute instance online upgrade due to missing architecture binary",
)
_SYNC = ("Synced", "OutOfSync", "Unknown")
_HEALTH = ("Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown")
_OPERATION = ("Running", "Terminating", "Succeeded", "Failed", "Error")
_REVISION_HASH = re.compile(r"[0-9a-f]{7,64}")


def flink_deployment(item: dict[str, Any]) -> dict[str, Any]:
    """Return wanted job state, nonce and upgrade mode, and the operator's view of job, manager and reconciliation."""
    spec, status = kept.needed(item.get("spec"), "spec"), kept.part(item.get("status"), "status")
    job, wanted = kept.part(status.get("jobStatus"), "status.jobStatus"), kept.part(spec.get("job"), "spec.job")
    reconciliation = kept.part(status.get("reconciliationStatus"), "status.reconciliationStatus")
    job_id = job.get("jobId")
    return {
        **kept.metadata(item.get("metadata")),
        "wantedState": kept.state(wanted.get("state"), ("running", "suspended"), "spec.job.state") or "running",
        "upgradeMode": kept.one_of(wanted.get("upgradeMode"), ("stateless", "last-state", "savepoint")),
        "restartNonce": kept.count(spec.get("restartNonce")),
        "image": kept.image(spec.get("image")),
        "lifecycle": kept.state(status.get("lifecycleState"), _LIFECYCLES, "status.lifecycleState"),
        "manager": kept.state(
            status.get("jobManagerDeploymentStatus"), _MANAGER_STATES, "status.jobManagerDeploymentStatus"
        ),
        "job": kept.state(job.get("state"), _JOB_STATES, "status.jobStatus.state"),
        "jobId": job_id if isinstance(job_id, str) and re.fullmatch(r"[0-9a-f]{32}", job_id) else None,
        "jobUpdated": kept.when(job.get("updateTime")),
        "jobStarted": kept.when(job.get("startTime")),
        "reconciliation": kept.state(reconciliation.get("state"), _LIFECYCLES, "status.reconciliationStatus.state"),
        "reconciled": kept.when(reconciliation.get("reconciliationTimestamp")),
        "observedGeneration": kept.count(status.get("observedGeneration")),
        "hasError": bool(status.get("error")),
        "errorSignatures": kept.signatures(status.get("error")),
    }


def knative_service(item: dict[str, Any]) -> dict[str, Any]:
    """Return conditions, newest created and ready revision, traffic, image and switches."""
    status = kept.needed(item.get("status"), "status")
    template = kept.part(kept.part(item.get("spec"), "spec").get("template"), "spec.template")
    return {
        **kept.metadata(item.get("metadata")),
        "observedGeneration": kept.count(status.get("observedGeneration")),
        "conditions": kept.conditions(status.get("conditions")),
        "newestCreated": _revision_name(status.get("latestCreatedRevisionName")),
        "newestReady": _revision_name(status.get("latestReadyRevisionName")),
        "traffic": [
            {"revision": kept.name(entry.get("revisionName")), "percent": kept.count(entry.get("percent")) or 0}
            for entry in kept.objects(status.get("traffic"))
        ],
        **container_settings(template.get("spec")),
    }


def _revision_name(value: Any) -> str | None:
    found = kept.name(value)
    if found == kept.OTHER:
        raise kept.MisusedFieldError("a revision's name is none")
    return found


def knative_revision(item: dict[str, Any]) -> dict[str, Any]:
    """Return a Revision's conditions, image (as resolved, when it is) and switches."""
    status = kept.part(item.get("status"), "status")
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
    status = kept.part(item.get("status"), "status")
    words = ("InProgress", "Completed", "Aborted", "Terminating")
    return {
        **kept.metadata(item.get("metadata")),
        "status": kept.state(status.get("status"), words, "status.status"),
        "hosts": kept.count(status.get("hosts")),
        "hostsCompleted": kept.count(status.get("hostsCompleted")),
        "hasError": bool(status.get("error") or status.get("errors")),
    }


def cnpg_cluster(item: dict[str, Any]) -> dict[str, Any]:
    """Return phase, instance counts, primaries and conditions; an absent `readyInstances` means none (Go omits zero)."""
    spec, status = kept.needed(item.get("spec"), "spec"), kept.needed(item.get("status"), "status")
    phase = status.get("phase")
    return {
        **kept.metadata(item.get("metadata")),
        "wantedInstances": kept.whole(spec.get("instances"), "spec.instances"),
        "instances": kept.whole(status.get("instances"), "status.instances") or 0,
        "readyInstances": kept.whole(status.get("readyInstances"), "status.readyInstances") or 0,
        "phase": kept.state(phase, CNPG_PHASES, "status.phase"),
        "isUnrecoverable": isinstance(phase, str) and _UNRECOVERABLE in phase.lower(),
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
        "conditions": kept.conditions(kept.part(item.get("status"), "status").get("conditions")),
    }


def kafka_topic(item: dict[str, Any]) -> dict[str, Any]:
    """Return a topic's wanted shape and conditions."""
    spec = kept.part(item.get("spec"), "spec")
    retention = kept.table(spec.get("config")).get("retention.ms")
    return {
        **kept.metadata(item.get("metadata")),
        "topic": kept.name(spec.get("topicName")) or kept.metadata(item.get("metadata"))["name"],
        "partitions": kept.count(spec.get("partitions")),
        "replicas": kept.count(spec.get("replicas")),
        "retentionMs": int(retention) if isinstance(retention, str) and retention.isdigit() else kept.count(retention),
        "config": {
            key: str(value)
            for key, value in sorted(kept.table(spec.get("config")).items())
            if _TOPIC_SETTING.fullmatch(key) and _TOPIC_SETTING.fullmatch(str(value))
        },
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
    spec, status = kept.needed(item.get("spec"), "spec"), kept.needed(item.get("status"), "status")
    sync, health = kept.needed(status.get("sync"), "status.sync"), kept.part(status.get("health"), "status.health")
    operation = kept.part(status.get("operationState"), "status.operationState")
    history = kept.objects(status.get("history"))
    return {
        **kept.metadata(item.get("metadata")),
        "isAutoSynced": _is_automated(kept.table(spec.get("syncPolicy")).get("automated")),
        "sync": kept.state(sync.get("status"), _SYNC, "status.sync.status"),
        "revision": _commit(sync.get("revision")),
        "health": kept.state(health.get("status"), _HEALTH, "status.health.status"),
        "healthSince": kept.when(health.get("lastTransitionTime")),
        "operation": kept.state(operation.get("phase"), _OPERATION, "status.operationState.phase"),
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


def _is_automated(value: Any) -> bool:
    """Tell whether Argo CD syncs by itself: `automated` is there, and is not switched off inside (Argo CD 3)."""
    return isinstance(value, dict) and value.get("enabled") is not False


def _commit(value: Any) -> str | None:
    return value if isinstance(value, str) and _REVISION_HASH.fullmatch(value) else None
