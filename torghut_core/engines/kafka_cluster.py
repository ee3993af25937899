"""Kafka's small interface over a cluster, by aiokafka.

Appends go out as whole record batches (`create_batch`, `send_batch`): about twenty times the rate of one `send` a
record. The producer is idempotent with acks from all replicas; consumers read committed records only. Partitions are
assigned by range, so that one member holds the same partition numbers of every topic it reads.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, errors
from aiokafka import TopicPartition as _TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.structs import OffsetAndMetadata

from torghut_core.engines import aiokafka_costs
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.kafka import (
    Batch,
    Committed,
    KafkaAddress,
    KafkaUnavailableError,
    OffsetReset,
    Rebalanced,
    RecordsRefusedError,
    TopicPartition,
    TransactionFencedError,
    Tuning,
    by_partition,
)
from torghut_core.engines.kafka_transactions import EarlyTransaction
from torghut_core.errors import TorghutError
from torghut_core.topics import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiokafka.producer.message_accumulator import BatchBuilder

_ANSWER_SECONDS = 30.0
"""What the client would repeat for ever, a session gives up after this: its owner must hear of it."""
_DISCONNECT_SECONDS = 1.0
_WITHDRAW_SECONDS = 2.0
"""What ending a transaction that has nothing in it may take before its producer is closed anyway."""
_AUTH = (
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.SaslAuthenticationFailed,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError, errors.RecordTooLargeError)
_REFUSED = (errors.InvalidTimestampError, errors.PolicyViolationError, errors.CorruptRecordException)
_FENCED = (errors.ProducerFenced, errors.InvalidProducerEpoch, errors.TransactionCoordinatorFenced)
_METADATA = (
    errors.UnknownTopicOrPartitionError,
    errors.LeaderNotAvailableError,
    errors.NotLeaderForPartitionError,
    errors.KafkaTimeoutError,
    errors.RequestTimedOutError,
    errors.KafkaConnectionError,
    errors.NoBrokersAvailable,
    errors.NodeNotReadyError,
    TimeoutError,
)


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether the loop's complaint is worth a line: not when the client's own futures hold a failure it raised too."""
    return not (
        record.getMessage().startswith("Future exception was never retrieved")
        and record.exc_info is not None
        and isinstance(record.exc_info[1], errors.KafkaError)
    )


def translate(error: BaseException, doing: str) -> TorghutError:
    """Return the error of this project that a client's error stands for, with its reason."""
    if type(error) is errors.KafkaError and error.__cause__ is not None:
        error = error.__cause__  # the client's sender ends with a word of its own for what it did not expect
    if isinstance(error, _FENCED):
        return TransactionFencedError("the transactional id was opened by another process, or its time was up")
    if isinstance(error, _AUTH):
        reason = "kafka_auth"
    elif isinstance(error, _METADATA):
        reason = "kafka_metadata"
    else:
        reason = "kafka_produce" if doing == "append" else "kafka_metadata"
    return KafkaUnavailableError(f"Kafka: {doing} failed: {reason} ({type(error).__name__})", reason)


@asynccontextmanager
async def _translated(doing: str, within: float | None = None) -> AsyncIterator[None]:
    """Raise what the client raises under this project's types. It often waits for ever: `within` seconds bound that."""
    try:
        async with asyncio.timeout(within):
            yield
    except (errors.KafkaError, errors.ConsumerStoppedError, OSError, TimeoutError) as error:
        raise translate(error, doing) from error


def connection_options(address: KafkaAddress) -> dict[str, Any]:
    """Return what every client of the library needs to connect and to prove who it is."""
    security = address.security
    options: dict[str, Any] = {
        "bootstrap_servers": address.bootstrap,
        "client_id": address.client_id,
        "security_protocol": security.protocol,
        "request_timeout_ms": address.tuning.request_timeout_ms,
    }
    if security.protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.username,
            "sasl_plain_password": security.password.get_secret_value() if security.password else None,
        }
    if security.protocol.endswith("SSL"):
        options["ssl_context"] = ssl.create_default_context(cafile=security.ca_file)
    return options


class ClusterKafka:
    """A Kafka cluster by its bootstrap servers."""

    def __init__(self, address: KafkaAddress) -> None:
        self._address = address
        aiokafka_costs.take_out()
        logging.getLogger("asyncio").addFilter(_is_news)

    def _connection(self) -> dict[str, Any]:
        return connection_options(self._address)

    @asynccontextmanager
    async def _connecting(self, doing: str) -> AsyncIterator[None]:
        try:
            async with _translated(doing):
                yield
        except KafkaUnavailableError as error:
            if isinstance(error.__cause__, errors.KafkaConnectionError):
                await self._log_in(doing)
            raise

    async def _log_in(self, doing: str) -> None:
        """Raise what the brokers answer to a login: the client says no more than that it could not connect."""
        options = self._connection()
        for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
            try:
                connection = await create_conn(host, port, **options)
            except _AUTH as error:
                raise translate(error, doing) from error
            except (errors.KafkaError, OSError, TimeoutError):
                continue
            connection.close()

    async def ensure_topics(self, topics: Iterable[Topic]) -> dict[str, int]:
        wanted = list(topics)
        async with self._connecting("creating topics"):
            admin = AIOKafkaAdminClient(**self._connection())
            try:
                await admin.start()
                existing = set(await admin.list_topics())
                missing = [topic for topic in wanted if topic.name not in existing]
                if missing:
                    brokers = len((await admin.describe_cluster())["brokers"])
                    await self._create(admin, missing, min(3, brokers))
                names = [topic.name for topic in wanted if topic.name in existing]
                described = await admin.describe_topics(names) if names else []
            finally:
                await admin.close()
        counts = {topic.name: topic.partitions for topic in missing}
        return counts | {each["topic"]: len(each["partitions"]) for each in described if each["error_code"] == 0}

    @staticmethod
    async def _create(admin: AIOKafkaAdminClient, missing: Sequence[Topic], replicas: int) -> None:
        answer = await admin.create_topics(
            [
                NewTopic(
                    topic.name,
                    num_partitions=topic.partitions,
                    replication_factor=replicas,
                    topic_configs={
                        "retention.ms": str(topic.retention_ms),
                        "cleanup.policy": "compact,delete" if topic.is_compacted else "delete",
                        "compression.type": "lz4",
                    },
                )
                for topic in missing
            ]
        )
        for _, code, *_ in answer.topic_errors:
            error = errors.for_code(code)
            if error not in (errors.NoError, errors.TopicAlreadyExistsError):
                raise error()

    async def check(self) -> None:
        client = AIOKafkaClient(**self._connection())
        async with self._connecting("metadata lookup"):
            try:
                await client.bootstrap()
            finally:
                await client.close()

    async def has_topic(self, topic: str) -> bool:
        async with self._connecting("looking a topic up"):
            admin = AIOKafkaAdminClient(**self._connection())
            try:
                await admin.start()
                return topic in await admin.list_topics()
            finally:
                await admin.close()

    async def producer(self, transactional_id: str | None = None) -> ClusterProducer:
        tuning = self._address.tuning
        inner = AIOKafkaProducer(
            **self._connection(),
            acks="all",
            enable_idempotence=True,
            transactional_id=transactional_id,
            transaction_timeout_ms=tuning.transaction_timeout_ms,
            compression_type=None if tuning.compression == "none" else tuning.compression,
            max_batch_size=tuning.batch_bytes,
            max_request_size=max(1_048_576, 2 * tuning.batch_bytes),
            linger_ms=0,  # callers bring whole batches; waiting for more would only add latency
        )
        # A batch that was sent and not answered must never be given up for want of a leader: it may have been written.
        inner._message_accumulator._batch_ttl = float("inf")
        async with _translated("opening a producer", _ANSWER_SECONDS):
            try:
                await inner.start()
            except BaseException:
                await inner.stop()
                raise
        return ClusterProducer(inner, tuning, is_transactional=transactional_id is not None)

    def consumer(
        self,
        topics: Sequence[str],
        *,
        group: str,
        reset: OffsetReset,
        on_assigned: Rebalanced | None = None,
        on_revoked: Rebalanced | None = None,
    ) -> ClusterConsumer:
        from torghut_core.engines import kafka_columns

        kafka_columns.install()
        inner = AIOKafkaConsumer(
            **self._connection(),
            value_deserializer=kafka_columns.COLUMNS,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset=reset,
            isolation_level="read_committed",
            partition_assignment_strategy=(RangePartitionAssignor,),
            fetch_max_bytes=16 << 20,
            max_partition_fetch_bytes=4 << 20,
            fetch_max_wait_ms=100,
        )
        return ClusterConsumer(inner, topics, on_assigned, on_revoked)

    async def last_record(self, topic: str, partition: int, count: int = 1) -> Batch | None:
        inner = AIOKafkaConsumer(**self._connection(), group_id=None, isolation_level="read_committed")
        at = _TopicPartition(topic, partition)
        async with _translated("reading the last record"):
            try:
                await inner.start()
                inner.assign([at])
                first = (await inner.beginning_offsets([at]))[at]
                end = (await inner.end_offsets([at]))[at]
                # Transaction markers and compaction leave offsets without a record: step back until one is found.
                span = count
                deadline = time.monotonic() + _ANSWER_SECONDS
                while end > first and span <= 4096 * count:
                    inner.seek(at, max(first, end - span))
                    found: list[Any] = []
                    while await inner.position(at) < end:
                        more = (await inner.getmany(at, timeout_ms=1000)).get(at)
                        if more:
                            found += more
                        elif span == 1 or time.monotonic() > deadline:
                            break
                    if found:
                        found = found[-count:]
                        return Batch(
                            topic,
                            partition,
                            [record.offset for record in found],
                            [record.timestamp for record in found],
                            [record.key for record in found],
                            [record.value or b"" for record in found],
                        )
                    span *= 8
                return None
            finally:
                await inner.stop()

    async def close(self) -> None:
        """Producers and consumers are closed by whoever opened them."""


class ClusterProducer:
    """Appends whole record batches."""

    def __init__(self, inner: AIOKafkaProducer, tuning: Tuning, *, is_transactional: bool) -> None:
        self._inner = inner
        self._tuning = tuning
        self._is_transactional = is_transactional
        self._early = EarlyTransaction(inner)

    async def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        if not values:
            return
        async with _translated("append"):
            await self._append(topic, keys, values)

    async def partitions(self, topic: str) -> int:
        async with _translated("looking a topic up", _ANSWER_SECONDS):
            return len(await self._inner.partitions_for(topic))

    async def append(self, topic: str, partition: int, keys: ByteColumn, values: ByteColumn) -> None:
        from torghut_core.engines.kafka_batches import encode_batches

        (batch,) = encode_batches(
            keys,
            values,
            timestamp_ms=time.time_ns() // 1_000_000,
            most_bytes=len(values.data) + len(keys.data) + 64 * len(values),
            codec=self._tuning.compression,
            is_transactional=False,
        )
        async with _translated("append"):
            sent = await self._inner.send_batch(batch, topic, partition=partition)
            try:
                await sent
            except errors.KafkaError as error:
                if isinstance(error, _TOO_LARGE):
                    raise RecordsRefusedError(
                        f"Kafka: {len(values)} records are too large together", "too_large"
                    ) from error
                if isinstance(error, _REFUSED):
                    raise RecordsRefusedError(f"Kafka: {len(values)} records were refused", "refused") from error
                raise

    async def _append(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        partitions = len(await self._inner.partitions_for(topic))
        await asyncio.gather(
            *(
                self._append_partition(topic, number, *columns)
                for number, columns in by_partition(keys, values, partitions).items()
            )
        )

    async def _append_partition(
        self, topic: str, partition: int, keys: Sequence[bytes], values: Sequence[bytes]
    ) -> None:
        batches = self._packed(keys, values) if isinstance(values, ByteColumn) else self._built(keys, values)
        await asyncio.gather(*[await self._inner.send_batch(batch, topic, partition=partition) for batch in batches])

    def _built(self, keys: Sequence[bytes], values: Sequence[bytes]) -> Iterator[BatchBuilder]:
        """Return records as the client's own batches."""
        now_ms = time.time_ns() // 1_000_000
        builder = self._inner.create_batch()
        for key, value in zip(keys, values, strict=True):
            if builder.append(key=key, value=value, timestamp=now_ms) is None:
                yield builder
                builder = self._inner.create_batch()
                builder.append(key=key, value=value, timestamp=now_ms)
        yield builder

    def _packed(self, keys: Sequence[bytes], values: ByteColumn) -> Iterator[BatchBuilder]:
        """Return records that stand in one buffer as batches, with no object for each."""
        from torghut_core.engines.kafka_batches import encode_batches

        return encode_batches(
            keys if isinstance(keys, ByteColumn) else ByteColumn.of(keys),
            values,
            timestamp_ms=time.time_ns() // 1_000_000,
            most_bytes=self._tuning.batch_bytes,
            codec=self._tuning.compression,
            is_transactional=self._is_transactional,
        )

    async def transact(
        self,
        records: Mapping[str, tuple[Sequence[bytes], Sequence[bytes]]],
        group: str,
        offsets: Mapping[TopicPartition, Committed],
    ) -> None:
        async with _translated("append", _ANSWER_SECONDS):
            try:
                was_begun = await self._early.take()
                if not was_begun:
                    await self._inner.begin_transaction()
                # All topics at once: one request adds their partitions.
                parts = [self._append(topic, *columns) for topic, columns in records.items() if columns[1]]
                if was_begun:
                    parts.append(self._commit(group, offsets))
                for failed in await asyncio.gather(*parts, return_exceptions=True):
                    if failed is not None:
                        self._early.raise_failure()  # which the client may have met with no more than an assertion
                        raise failed
                if not was_begun:
                    # After the records: the broker asks the coordinator about both, is refused the second while the
                    # first is on its way, and costs the client a back-off.
                    await self._commit(group, offsets)
                self._early.remember()
            except Exception:
                # Not when the time is up: who does not answer does not abort either. Opening the id again does it.
                if not self._early.is_fatal:
                    await self._inner.abort_transaction()
                raise
            await self._inner.commit_transaction()

    async def _commit(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit a group's offsets with the transaction under way; they replace those before."""
        positions = {
            _TopicPartition(*at): OffsetAndMetadata(said.offset, said.metadata) for at, said in offsets.items()
        }
        await self._inner.send_offsets_to_transaction(positions, group)

    def prepare(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        self._early.begin(lambda: self._commit(group, offsets))

    async def withdraw(self, older_than: float) -> None:
        if self._early.age < older_than:
            return
        async with _translated("ending a transaction", _ANSWER_SECONDS):
            await self._early.take()
            await self._inner.abort_transaction()

    async def close(self) -> None:
        with suppress(errors.KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(10):  # for both: a pod has 30 seconds to end, and its consumer takes some
                with suppress(TimeoutError, KafkaUnavailableError, TransactionFencedError):
                    async with asyncio.timeout(_WITHDRAW_SECONDS):
                        await self.withdraw(0.0)  # or the next one to open the id would have to wait for its end
                try:
                    await self._inner.stop()
                except BaseException:
                    # Given up while it waits for a broker that is away: its connections would stay open.
                    with suppress(errors.KafkaError, OSError, TimeoutError):
                        async with asyncio.timeout(_DISCONNECT_SECONDS):
                            await self._inner.client.close()
                    raise


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes assignments on under this project's types."""

    def __init__(self, on_assigned: Rebalanced | None, on_revoked: Rebalanced | None) -> None:
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    async def on_partitions_assigned(self, assigned: Iterable[_TopicPartition]) -> None:
        if self._on_assigned is not None:
            await self._on_assigned(frozenset(TopicPartition(at.topic, at.partition) for at in assigned))

    async def on_partitions_revoked(self, revoked: Iterable[_TopicPartition]) -> None:
        gone = frozenset(TopicPartition(at.topic, at.partition) for at in revoked)
        if self._on_revoked is not None and gone:
            await self._on_revoked(gone)


class ClusterConsumer:
    """A member of a consumer group."""

    def __init__(
        self,
        inner: AIOKafkaConsumer,
        topics: Sequence[str],
        on_assigned: Rebalanced | None,
        on_revoked: Rebalanced | None,
    ) -> None:
        self._inner = inner
        self._topics = tuple(topics)
        self._listener = _Listener(on_assigned, on_revoked)

    async def start(self) -> None:
        async with _translated("joining the group"):
            self._inner.subscribe(self._topics, listener=self._listener)
            try:
                await self._inner.start()
            except BaseException:
                await self._inner.stop()
                raise

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(TopicPartition(at.topic, at.partition) for at in self._inner.assignment())

    async def poll(self, *, max_records: int, wait_seconds: float) -> list[Batch]:
        async with _translated("reading"):
            found = await self._inner.getmany(timeout_ms=int(wait_seconds * 1000), max_records=max_records)
        return list(found.values())

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._inner.pause(*self._held(partitions))

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._inner.resume(*self._held(partitions))

    def _held(self, partitions: Iterable[TopicPartition]) -> list[_TopicPartition]:
        assigned = self._inner.assignment()
        return [at for at in (_TopicPartition(*at) for at in partitions) if at in assigned]

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        async with _translated("seeking"):
            self._inner.seek(_TopicPartition(*partition), offset)

    async def position(self, partition: TopicPartition) -> int:
        async with _translated("asking for a position"):
            return int(await self._inner.position(_TopicPartition(*partition)))

    async def is_at_end(self, partition: TopicPartition, within: float) -> bool:
        at = _TopicPartition(*partition)
        looked_ms = self._inner.last_poll_timestamp(at)
        if looked_ms is None or time.time() - looked_ms / 1000 > within:
            return False
        end = self._inner.last_stable_offset(at)
        if end is None:
            end = self._inner.highwater(at)
        return end is not None and await self.position(partition) >= end

    async def committed(self, partition: TopicPartition) -> Committed | None:
        at = _TopicPartition(*partition)
        async with _translated("asking for committed offsets", _ANSWER_SECONDS):
            # The public call drops the metadata, which names the checkpoint of a transaction.
            found = await self._inner._coordinator.fetch_committed_offsets([at])
        said = found.get(at)
        return Committed(said.offset, said.metadata or "") if said is not None and said.offset >= 0 else None

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        async with _translated("committing offsets", _ANSWER_SECONDS):
            await self._inner.commit(
                {_TopicPartition(*at): (said.offset, said.metadata) for at, said in offsets.items()}
            )

    async def bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        asked = [_TopicPartition(*at) for at in partitions]
        async with _translated("asking for offsets", _ANSWER_SECONDS):
            first = await self._inner.beginning_offsets(asked)
            end = await self._inner.end_offsets(asked)
        return {TopicPartition(*at): (first[at], end[at]) for at in asked}

    async def close(self) -> None:
        with suppress(errors.KafkaError, OSError, TimeoutError):
            await asyncio.wait_for(self._inner.stop(), 10)
