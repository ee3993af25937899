"""Kafka by address, through one small interface with two adapters.

`host:port[,host:port]` is a cluster (aiokafka); `embedded:DIR` is a durable log on SQLite for one machine. Both append
batches with keys, read from offsets, commit a group's offsets, keep what the retention says, and can do an append and a
commit as one transaction. Keys are partitioned by murmur2, as every Kafka client does.

Records move in columns (`Batch`), never one object each: Python sees lists of bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

from aiokafka.partitioner import murmur2
from pydantic import SecretStr

from torghut_core.engines.byte_column import ByteColumn
from torghut_core.errors import EngineUnavailableError, ExitCode, TorghutError
from torghut_core.topics import Topic

OffsetReset = Literal["earliest", "latest", "none"]


class TopicPartition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class Committed(NamedTuple):
    """A group's committed position: the next offset to read, and what was said with it."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition, in columns of equal length, offsets rising. A tombstone's value is empty."""

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.offsets)

    def part(self, start: int, stop: int) -> Batch:
        """Return the records from place `start` to before `stop`."""
        its = slice(start, stop)
        return Batch(
            self.topic, self.partition, self.offsets[its], self.timestamps_ms[its], self.keys[its], self.values[its]
        )

    @property
    def at(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def next_offset(self) -> int:
        return int(self.offsets[-1]) + 1


class FencedError(TorghutError):
    """Another process took over this group or transactional id; this one must stop writing."""

    exit_code = ExitCode.UPSTREAM


class TransactionFencedError(FencedError):
    """A cluster's transactional id goes on without this producer. Whose its partitions are, the group knows."""


class KafkaUnavailableError(EngineUnavailableError):
    """Kafka does not answer. `reason` is `kafka_auth`, `kafka_metadata` or `kafka_produce`."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RecordsRefusedError(TorghutError):
    """Kafka will not take these records as they are, and has taken none of them. `reason` is `too_large` or `refused`."""

    exit_code = ExitCode.UPSTREAM

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Producer(Protocol):
    """Appends records; idempotent, acknowledged by all replicas."""

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has. Raises KafkaUnavailableError."""

    async def append(self, topic: str, partition: int, keys: ByteColumn, values: ByteColumn) -> None:
        """Append one batch to the partition its keys belong to, and wait until it is durable, for as long as that takes.

        What is on its way is asked for again by the client itself, under the same number: it is never appended twice,
        and the call must not be given up for another one with the same records. When it raises, nothing was appended:
        RecordsRefusedError for what no repetition cures, KafkaUnavailableError for what one may. The producer is of no
        use for this partition then: close it and open another.
        """

    async def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Append records of one topic and return when they are durable; order per key is kept.

        Raises KafkaUnavailableError when they are not known to be durable: sending them again is the caller's choice.
        """

    async def transact(
        self,
        records: Mapping[str, tuple[Sequence[bytes], Sequence[bytes]]],
        group: str,
        offsets: Mapping[TopicPartition, Committed],
    ) -> None:
        """Append to several topics (topic → keys, values) and commit a group's offsets, all or nothing.

        Only for a producer opened with a transactional id. Raises FencedError when the id belongs to a later process.
        """

    def prepare(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Begin the next transaction before its records are there, over the partitions of the last, and do not wait.

        `offsets` are the group's as they stand; the transaction's own replace them. What does not depend on the records
        is then done when they come. Nothing is, where a transaction is one step.
        """

    async def withdraw(self, older_than: float) -> None:
        """End a transaction that was prepared `older_than` seconds ago or more and has nothing in it yet.

        The broker would end it after the transaction timeout, and fence who began it.
        """

    async def close(self) -> None: ...


Rebalanced = Callable[[frozenset[TopicPartition]], Awaitable[None]]


class Consumer(Protocol):
    """Reads as a member of a group. Partitions with the same number, of topics of equal size, go to the same member."""

    async def start(self) -> None:
        """Join the group; `on_assigned` and `on_revoked` are called from here on, inside `poll` or before it."""

    async def poll(self, *, max_records: int, wait_seconds: float) -> list[Batch]:
        """Return what can be read now, waiting up to `wait_seconds` for the first record. Raises FencedError."""

    def assignment(self) -> frozenset[TopicPartition]: ...
    def pause(self, partitions: Iterable[TopicPartition]) -> None: ...
    def resume(self, partitions: Iterable[TopicPartition]) -> None: ...
    async def seek(self, partition: TopicPartition, offset: int) -> None: ...
    async def position(self, partition: TopicPartition) -> int: ...
    async def is_at_end(self, partition: TopicPartition, within: float) -> bool:
        """Tell whether everything has been read that was there at the last look, no longer than `within` seconds ago.

        A paused partition is not looked at, nor is one whose broker does not answer.
        """

    async def committed(self, partition: TopicPartition) -> Committed | None: ...
    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None: ...
    async def bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """Return earliest offset and end (the next offset to be written) per partition."""

    async def close(self) -> None: ...


class Kafka(Protocol):
    """A log by address."""

    async def ensure_topics(self, topics: Iterable[Topic]) -> dict[str, int]:
        """Create the topics that are missing; those that exist are left as they are. Return their partitions' counts.

        Raises KafkaUnavailableError, with its reason, when one cannot be created.
        """

    async def check(self) -> None:
        """Look metadata up. Raises KafkaUnavailableError, with its reason."""

    async def has_topic(self, topic: str) -> bool:
        """Tell whether a topic exists and may be seen. Raises KafkaUnavailableError."""

    async def producer(self, transactional_id: str | None = None) -> Producer: ...
    def consumer(
        self,
        topics: Sequence[str],
        *,
        group: str,
        reset: OffsetReset,
        on_assigned: Rebalanced | None = None,
        on_revoked: Rebalanced | None = None,
    ) -> Consumer: ...
    async def last_record(self, topic: str, partition: int, count: int = 1) -> Batch | None:
        """Return the newest record of a partition, or up to the newest `count`, None when it is empty."""

    async def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Security:
    """How a client proves who it is. `PLAINTEXT` needs nothing else."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a producer may hold and how long it waits."""

    linger_ms: int = 30
    batch_bytes: int = 262_144
    compression: Literal["lz4", "gzip", "none"] = "lz4"
    request_timeout_ms: int = 15_000
    transaction_timeout_ms: int = 120_000


@dataclass(frozen=True, kw_only=True)
class KafkaAddress:
    """Where Kafka is and how to talk to it; `variable` names the setting in errors."""

    bootstrap: str
    client_id: str
    variable: str = "KAFKA_BOOTSTRAP"
    security: Security = field(default_factory=Security)
    tuning: Tuning = field(default_factory=Tuning)


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: murmur2, masked to a positive number, modulo the topic's partitions."""
    if partitions == 1:
        return 0
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def by_partition(
    keys: Sequence[bytes], values: Sequence[bytes], partitions: int
) -> dict[int, tuple[Sequence[bytes], Sequence[bytes]]]:
    """Split columns by the partition of their keys, order kept."""
    if partitions == 1:
        return {0: (keys, values)}
    split: dict[int, tuple[list[bytes], list[bytes]]] = {}
    for key, value in zip(keys, values, strict=True):
        columns = split.setdefault(partition_of(key, partitions), ([], []))
        columns[0].append(key)
        columns[1].append(value)
    return {**split}
