"""One real Apache Kafka broker (KRaft), started and stopped by process id on free loopback ports."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.ports import free_ports

_LIBS = sorted((Path(__file__).resolve().parents[2] / ".engines").glob("kafka-*/libs"))


QUICK_TO_START = ("-Xmx384m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
AS_IN_PRODUCTION = ("-server", "-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")
"""What Kafka's own start script gives a broker."""


def require() -> Path:
    """Return the folder of Kafka's jars; skip without it, fail when CI says engines must be there."""
    if _LIBS and shutil.which("java"):
        return _LIBS[-1]
    reason = "Apache Kafka is not here: run `make engines` (needs Java 17 and Maven)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class Broker:
    """A broker whose folder survives stop and start; `properties` change its own, `jvm` is for speed or a quick start."""

    def __init__(
        self,
        folder: Path,
        properties: Mapping[str, str] | None = None,
        jvm: Sequence[str] = QUICK_TO_START,
        scram: Mapping[str, str] | None = None,
    ) -> None:
        self._libs = require()
        self._jvm = jvm
        self._folder = folder
        self.port, controller = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "server.properties").write_text(
            "\n".join(
                [
                    "process.roles=broker,controller",
                    "node.id=1",
                    f"controller.quorum.voters=1@127.0.0.1:{controller}",
                    f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
                    f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}",
                    "controller.listener.names=CONTROLLER",
                    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                    f"log.dirs={folder / 'data'}",
                    "offsets.topic.replication.factor=1",
                    "offsets.topic.num.partitions=1",
                    "transaction.state.log.replication.factor=1",
                    "transaction.state.log.min.isr=1",
                    "transaction.state.log.num.partitions=1",
                    "group.initial.rebalance.delay.ms=0",
                    "auto.create.topics.enable=false",
                    "log.retention.check.interval.ms=1000",
                    "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
                    *(f"{name}={value}" for name, value in (properties or {}).items()),
                ]
            )
        )
        users = [
            argument
            for name, password in (scram or {}).items()
            for argument in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
        ]
        self._java(
            "kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", str(self._properties), *users
        )

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _command(self, *arguments: str) -> list[str]:
        return ["java", *self._jvm, "-cp", f"{self._libs}/*", *arguments]

    def _java(self, *arguments: str) -> None:
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr[-500:]

    def start(self) -> None:
        """Start the broker and wait until it answers."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("kafka.Kafka", str(self._properties)),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError((self._folder / "broker.log").read_text(errors="replace")[-2000:])
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        self.stop(kill=True)
        raise TimeoutError("Apache Kafka did not start within 60 s")

    def pause(self) -> None:
        """Freeze the broker: its connections stay open and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None


@contextmanager
def running(folder: Path, jvm: Sequence[str] = QUICK_TO_START) -> Iterator[Broker]:
    """Run a broker for the block."""
    broker = Broker(folder, jvm=jvm)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
