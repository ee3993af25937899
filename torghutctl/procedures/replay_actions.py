"""The steps of a replay from scratch that delete: fixed command lines in named pods, each safe to repeat.

The order is what keeps them safe: state is copied and compared before anything is deleted, and the journal never lets a
step begin before the one before it is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torghut_core.topics import TA_BARS_1S, TA_SIGNALS
from torghutctl.errors import InputError
from torghutctl.planning.plan import Action
from torghutctl.snapshot.model import is_object_name

DERIVED_TOPICS = (TA_BARS_1S, TA_SIGNALS)
TYPED_TOPICS = " ".join(topic.name for topic in DERIVED_TOPICS)
"""What is typed as the second confirmation."""
_POD = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9]")
_CONFIG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._,:*-]*|-1")
_BOOTSTRAP = re.compile(r"[A-Za-z0-9.-]+:\d{1,5}(?:,[A-Za-z0-9.-]+:\d{1,5})*")
_KAFKA_TOPICS = "/opt/kafka/bin/kafka-topics.sh"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the steps run and what they touch."""

    kafka_namespace: str
    kafka_pod: str
    kafka_bootstrap: str
    minio_namespace: str
    minio_pod: str
    bucket: str
    """`alias/bucket` as the MinIO pod's own client knows it."""
    prefix: str
    """The job's prefix in the bucket; checkpoints and savepoints lie below it."""

    def __post_init__(self) -> None:
        for option, value in (("--kafka-pod", self.kafka_pod), ("--minio-pod", self.minio_pod)):
            if _POD.fullmatch(value) is None:
                raise InputError(f"{option} {value}: is not a pod's name")
        if not is_object_name(self.minio_namespace):
            raise InputError(f"--minio-namespace {self.minio_namespace}: is not a namespace's name")
        if _BOOTSTRAP.fullmatch(self.kafka_bootstrap) is None:
            raise InputError(f"--kafka-bootstrap {self.kafka_bootstrap}: must be HOST:PORT, or several with commas")
        for option, value in (("--bucket", self.bucket), ("--state-prefix", self.prefix)):
            if _PREFIX.fullmatch(value) is None or ".." in value or "//" in value:
                raise InputError(f"{option} {value}: must be a plain path of names parted by single slashes")
        if "/" not in self.bucket or "/" not in self.prefix:
            raise InputError(
                f"--bucket {self.bucket} --state-prefix {self.prefix}: must name alias/bucket and a prefix of two parts or more",
                hint="a whole bucket is never deleted",
            )

    def state(self, part: str) -> str:
        """Return the address of checkpoints or savepoints."""
        return f"{self.bucket}/{self.prefix}/{part}"

    def backup(self, identity: str) -> str:
        """Return the address of the copy."""
        return f"{self.bucket}/backup/{identity}"


@dataclass(frozen=True, kw_only=True)
class TopicShape:
    """How a topic is made."""

    name: str
    partitions: int
    replicas: int
    config: Mapping[str, str]


def contract_shapes() -> tuple[TopicShape, ...]:
    """Return the derived topics as the contract has them, to show a plan with before the cluster was read."""
    return tuple(
        TopicShape(
            name=topic.name,
            partitions=topic.partitions,
            replicas=3,
            config={
                "retention.ms": str(topic.retention_ms),
                "cleanup.policy": "delete",
                "compression.type": "lz4",
                "min.insync.replicas": "2",
            },
        )
        for topic in DERIVED_TOPICS
    )


def real_shapes(resources: Iterable[Mapping[str, Any]]) -> tuple[TopicShape, ...] | None:
    """Return the derived topics as their KafkaTopic resources have them; None when one is missing or unclear."""
    known = {str(item.get("topic")): item for item in resources}
    shapes: list[TopicShape] = []
    for topic in DERIVED_TOPICS:
        item = known.get(topic.name, {})
        partitions, replicas, config = item.get("partitions"), item.get("replicas"), item.get("config")
        if not isinstance(partitions, int) or not isinstance(replicas, int) or not isinstance(config, Mapping):
            return None
        if not all(_CONFIG.fullmatch(str(key)) and _CONFIG.fullmatch(str(value)) for key, value in config.items()):
            return None
        shapes.append(
            TopicShape(
                name=topic.name,
                partitions=partitions,
                replicas=replicas,
                config={str(key): str(value) for key, value in sorted(config.items())},
            )
        )
    return tuple(shapes)


def destructive_actions(identity: str, places: Places, shapes: Sequence[TopicShape]) -> tuple[Action, ...]:
    """Return the steps in order: copy, compare, topics made anew in these shapes, state."""
    kafka = f"pod {places.kafka_namespace}/{places.kafka_pod}"
    minio = f"pod {places.minio_namespace}/{places.minio_pod}"
    parts = ("checkpoints", "savepoints")
    actions: list[Action] = []
    for part in parts:
        copy = f"{places.backup(identity)}/{part}"
        actions.append(Action(target=minio, statement=f"mc mirror --overwrite {places.state(part)} {copy}"))
    for part in parts:
        copy = f"{places.backup(identity)}/{part}"
        actions.append(
            Action(
                target=minio,
                statement=f"mc ls --recursive --json {places.state(part)}",
                same_objects_as=f"mc ls --recursive --json {copy}",
            )
        )
    for shape in shapes:
        # The topic operator would otherwise make the topic again while it is being deleted.
        actions.append(_managed(places, shape, value="false"))
    for shape in shapes:
        common = f"{_KAFKA_TOPICS} --bootstrap-server {places.kafka_bootstrap}"
        settings = "".join(f" --config {key}={value}" for key, value in shape.config.items())
        actions.append(Action(target=kafka, statement=f"{common} --delete --if-exists --topic {shape.name}"))
        actions.append(
            Action(
                target=kafka,
                statement=f"{common} --create --if-not-exists --topic {shape.name} --partitions {shape.partitions} "
                f"--replication-factor {shape.replicas}{settings}",
            )
        )
        # Deleting may go on behind the broker's answer: this fails when what was made anew is not there.
        actions.append(Action(target=kafka, statement=f"{common} --describe --topic {shape.name}"))
    actions.extend(_managed(places, shape, value=None) for shape in shapes)
    actions.extend(Action(target=minio, statement=f"mc rm --recursive --force {places.state(part)}") for part in parts)
    return tuple(actions)


def restoring_lines(identity: str, places: Places) -> tuple[str, ...]:
    """Return the command lines that put the copied state back where it was."""
    copies = ((places.backup(identity), part) for part in ("checkpoints", "savepoints"))
    return tuple(f"mc mirror --overwrite {copy}/{part} {places.state(part)}" for copy, part in copies)


def _managed(places: Places, topic: TopicShape, *, value: str | None) -> Action:
    statement = "annotate strimzi.io/managed" + ("-" if value is None else f"={value}")
    return Action(target=f"KafkaTopic {places.kafka_namespace}/{topic.name}", statement=statement)
