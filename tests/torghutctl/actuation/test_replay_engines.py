"""The deleting steps of a replay on Apache Kafka and an S3 server, killed after every single command."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import s3
from tests.fakes.apache_kafka import Broker
from tests.torghutctl.actuation.test_replay import PLACES
from torghutctl.adapters.pod_commands import CommandResult
from torghutctl.effects.actions import Hands, Journal, Step, carry_out
from torghutctl.procedures.replay_actions import DERIVED_TOPICS, contract_shapes, destructive_actions

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.xdist_group("kafka")]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "kafka")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with s3.running() as address:
        yield address


class Pods:
    """What the two pods would do with the fixed command lines: admin calls in place of Kafka's tool, S3 calls in place of `mc`."""

    def __init__(self, broker: Broker, address: str, log: Path) -> None:
        self._broker, self._address, self._log = broker, address, log
        self._clients: dict[int, Any] = {}

    @property
    def s3(self) -> Any:
        """A client of this process: connections do not survive a fork."""
        import boto3

        if os.getpid() not in self._clients:
            self._clients[os.getpid()] = boto3.client("s3", endpoint_url=self._address)
        return self._clients[os.getpid()]

    def run(self, namespace: str, pod: str, command: str) -> CommandResult:
        words = command.split()
        if words[0] == "mc":
            return CommandResult(status=0, output=self._mc(words[1], words[2:]), errors="")
        return self._topics(words)

    def _topics(self, words: list[str]) -> CommandResult:
        """Do what `kafka-topics.sh` does with these words, through the broker's admin API."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient, NewTopic

        client = AdminClient({"bootstrap.servers": words[words.index("--bootstrap-server") + 1]})
        name = words[words.index("--topic") + 1]
        try:
            if "--describe" in words:
                return CommandResult(
                    status=int(name not in client.list_topics(timeout=20).topics), output="", errors=""
                )
            if "--delete" in words:
                client.delete_topics([name], operation_timeout=10)[name].result(20)
                self._note(f"topic {name}")
            else:
                config = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "--config")
                partitions = int(words[words.index("--partitions") + 1])
                client.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(20)
        except KafkaException as error:
            expected = {"UNKNOWN_TOPIC_OR_PART": "--if-exists", "TOPIC_ALREADY_EXISTS": "--if-not-exists"}
            code = error.args[0].name()
            return CommandResult(status=int(expected.get(code, "") not in words), output="", errors=code)
        return CommandResult(status=0, output="", errors="")

    def describe(self, name: str) -> tuple[int, dict[str, str]]:
        """Return a topic's partitions and configuration as the broker has them."""
        from confluent_kafka.admin import AdminClient, ConfigResource

        client = AdminClient({"bootstrap.servers": self._broker.bootstrap})
        resource = ConfigResource("topic", name)
        config = client.describe_configs([resource])[resource].result(20)
        partitions = len(client.list_topics(name, timeout=20).topics[name].partitions)
        return partitions, {key: entry.value for key, entry in config.items()}

    def keys(self, address: str) -> list[dict[str, Any]]:
        _, bucket, prefix = address.split("/", 2)
        return list(self.s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", []))

    def _mc(self, verb: str, words: list[str]) -> str:
        source, *copy_to = [word for word in words if not word.startswith("--")]
        bucket, prefix = source.split("/", 2)[1:]
        if verb == "ls":
            return "\n".join(json.dumps({"key": item["Key"], "size": item["Size"]}) for item in self.keys(source))
        for item in self.keys(source):
            key = item["Key"]
            if verb == "mirror":
                target = copy_to[0].split("/", 2)[2] + key.removeprefix(prefix)
                self.s3.copy_object(Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": key})
            else:
                copy = f"backup/gap-1/{prefix.rsplit('/', 1)[1]}{key.removeprefix(prefix)}"
                self.s3.head_object(Bucket=bucket, Key=copy)
                self.s3.delete_object(Bucket=bucket, Key=key)
                self._note(f"object {key}")
        return ""

    def _note(self, line: str) -> None:
        with self._log.open("a") as file:
            file.write(line + "\n")


def test_from_scratch_when_killed_after_every_command_then_topics_and_state_end_as_planned(
    broker: Broker, storage: str, tmp_path: Path
) -> None:
    """Both topics new with their real configuration and empty, state moved to its backup, nothing deleted twice."""
    pods = Pods(broker, storage, tmp_path / "log")
    pods.s3.create_bucket(Bucket="flink-checkpoints")
    for part in ("checkpoints", "savepoints"):
        for index in range(3):
            pods.s3.put_object(
                Bucket="flink-checkpoints", Key=f"torghut/technical-analysis/{part}/chk-{index}", Body=b"x" * index
            )
    places = replace(PLACES, kafka_bootstrap=broker.bootstrap)
    for topic in DERIVED_TOPICS:
        pods.run(
            "",
            "",
            f"kafka-topics.sh --bootstrap-server {broker.bootstrap} --create --topic {topic.name} --partitions 5",
        )
    actions = destructive_actions("gap-1", places, [replace(shape, replicas=1) for shape in contract_shapes()])
    steps = [Step(target=a.target, statement=a.statement, same_objects_as=a.same_objects_as) for a in actions]
    journal, lives, finished = Journal(tmp_path / "journal"), 0, False
    while not finished:
        child = os.fork()
        if child == 0:
            spared = journal.done()

            def run(namespace: str, pod: str, command: str, life: int = lives) -> CommandResult:
                result = pods.run(namespace, pod, command)
                if life % 2 == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            def note(index: int, step: Step, event: str, life: int = lives, first: int = spared) -> None:
                if event == "done" and index == first and life % 2 == 1:
                    os.kill(os.getpid(), signal.SIGKILL)

            try:
                carry_out(steps, Hands(run=run, annotate=lambda *_: None), journal, note)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        finished, lives = not os.WIFSIGNALED(status), lives + 1
    assert lives > len(steps)

    for topic in DERIVED_TOPICS:
        partitions, config = pods.describe(topic.name)
        assert (1, str(topic.retention_ms), "lz4", "delete") == (
            partitions,
            config["retention.ms"],
            config["compression.type"],
            config["cleanup.policy"],
        )
    backup = {item["Key"]: item["Size"] for item in pods.keys("local/flink-checkpoints/backup/gap-1")}
    assert {f"backup/gap-1/{part}/chk-{i}": i for part in ("checkpoints", "savepoints") for i in range(3)} == backup
    assert pods.keys("local/flink-checkpoints/torghut/technical-analysis") == []
    deleted = (tmp_path / "log").read_text().splitlines()
    objects = [line for line in deleted if line.startswith("object")]
    assert sorted(set(objects)) == sorted(objects)
    assert len(objects) == 6
    assert sorted(line for line in deleted if line.startswith("topic")) == sorted(
        f"topic {t.name}" for t in DERIVED_TOPICS
    )
