"""The log on SQLite itself: topics, batches, commits and fences in one file. Blocking, called from threads.

What it guarantees is in `kafka_sqlite`, which shows it as Kafka.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cramjam
import msgspec

from torghut_core.engines.kafka import (
    Batch,
    Committed,
    FencedError,
    KafkaUnavailableError,
    TopicPartition,
    by_partition,
)
from torghut_core.errors import ConfigurationError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (
    name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, retention_ms INTEGER NOT NULL, is_compacted INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS partitions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL, first_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL, payload BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS batches_by_offset ON batches (topic, partition, last_offset);
CREATE INDEX IF NOT EXISTS batches_by_age ON batches (topic, timestamp_ms);
CREATE TABLE IF NOT EXISTS commits (
    grp TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    metadata TEXT NOT NULL, PRIMARY KEY (grp, topic, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fences (kind TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID;
"""
_RECORDS_PER_ROW = 4096
_BYTES_PER_ROW = 4 << 20
_RETENTION_EVERY_SECONDS = 60.0


class _Row(msgspec.Struct, array_like=True):
    """What a batch row's payload holds. `offsets` is None when they are consecutive (no compaction yet)."""

    offsets: list[int] | None
    keys: list[bytes | None]
    values: list[bytes]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Row)


def _pack(row: _Row) -> bytes:
    return bytes(cramjam.lz4.compress(_ENCODER.encode(row)))


def _unpack(payload: bytes) -> _Row:
    return _DECODER.decode(bytes(cramjam.lz4.decompress(payload)))


class SqliteLog:
    """The log in one folder: what producers and consumers stand on."""

    def __init__(self, folder: Path, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writing = self._connect(folder / "log.db")
            self._reading = self._connect(folder / "log.db")
            self._writing.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"embedded:{folder}: cannot be opened as a log: {error}") from error
        self._now_ms = now_ms
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._appended: set[asyncio.Event] = set()
        self._retained_at = time.monotonic()

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -16384")
        return connection

    async def close(self) -> None:
        def shut() -> None:
            with self._write_lock, self._read_lock:
                self._writing.close()
                self._reading.close()

        await asyncio.to_thread(shut)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one durable transaction."""
        with self._write_lock:
            try:
                self._writing.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writing
                    self._writing.execute("COMMIT")
                except BaseException:
                    if self._writing.in_transaction:  # a full disk may have ended it already
                        self._writing.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise KafkaUnavailableError(f"the embedded log cannot be written: {error}", "kafka_produce") from error

    def read(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return a query's rows."""
        with self._read_lock:
            try:
                return self._reading.execute(statement, parameters).fetchall()
            except sqlite3.Error as error:
                raise KafkaUnavailableError(f"the embedded log cannot be read: {error}", "kafka_metadata") from error

    def take_over(self, kind: str, name: str) -> int:
        """Fence whoever held `name` before and return the new epoch."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO fences VALUES (?, ?, 1) ON CONFLICT (kind, name) DO UPDATE SET epoch = epoch + 1",
                (kind, name),
            )
            return int(db.execute("SELECT epoch FROM fences WHERE kind = ? AND name = ?", (kind, name)).fetchone()[0])

    @staticmethod
    def assert_epoch(db: sqlite3.Connection, kind: str, name: str, epoch: int) -> None:
        """Raise FencedError unless `epoch` is the newest of `name`."""
        row = db.execute("SELECT epoch FROM fences WHERE kind = ? AND name = ?", (kind, name)).fetchone()
        if row is None or row[0] != epoch:
            raise FencedError(f"{kind} {name!r} was taken over by another process; this one stops writing")

    def append(self, db: sqlite3.Connection, topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Append columns to `topic` inside the caller's transaction."""
        found = db.execute("SELECT partitions FROM topics WHERE name = ?", (topic,)).fetchone()
        if found is None:
            raise KafkaUnavailableError(f"topic {topic!r} does not exist", "kafka_metadata")
        now_ms = self._now_ms()
        for partition, (its_keys, its_values) in by_partition(keys, values, found[0]).items():
            (offset,) = db.execute(
                "SELECT next_offset FROM partitions WHERE topic = ? AND partition = ?", (topic, partition)
            ).fetchone()
            all_keys: list[bytes | None] = [*its_keys]
            all_values = list(its_values)
            start = 0
            while start < len(all_values):
                end, size = start, 0
                while end < len(all_values) and end - start < _RECORDS_PER_ROW and size < _BYTES_PER_ROW:
                    size += len(all_values[end])
                    end += 1
                row = _Row(None, all_keys[start:end], all_values[start:end])
                db.execute(
                    "INSERT INTO batches (topic, partition, first_offset, last_offset, timestamp_ms, payload)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (topic, partition, offset, offset + end - start - 1, now_ms, _pack(row)),
                )
                offset += end - start
                start = end
            db.execute(
                "UPDATE partitions SET next_offset = ? WHERE topic = ? AND partition = ?", (offset, topic, partition)
            )

    def commit(self, db: sqlite3.Connection, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Store a group's positions inside the caller's transaction."""
        db.executemany(
            "INSERT INTO commits VALUES (?, ?, ?, ?, ?) ON CONFLICT (grp, topic, partition)"
            " DO UPDATE SET next_offset = excluded.next_offset, metadata = excluded.metadata",
            [(group, at.topic, at.partition, said.offset, said.metadata) for at, said in offsets.items()],
        )

    @staticmethod
    def batch(at: TopicPartition, row: tuple[Any, ...], from_offset: int, limit: int) -> Batch:
        """Return up to `limit` records of a stored row, from an offset on."""
        first, _, timestamp_ms, payload = row
        stored = _unpack(payload)
        if stored.offsets is None:
            skip = max(0, from_offset - first)
            offsets: Sequence[int] = range(first + skip, first + min(len(stored.values), skip + limit))
        else:
            skip = sum(offset < from_offset for offset in stored.offsets)
            offsets = stored.offsets[skip : skip + limit]
        end = skip + len(offsets)
        return Batch(
            at.topic,
            at.partition,
            offsets,
            [timestamp_ms] * len(offsets),
            stored.keys[skip:end],
            stored.values[skip:end],
        )

    def announce(self) -> None:
        """Wake this process's consumers, and tidy up now and then. Called on the event loop."""
        for event in self._appended:
            event.set()
        if time.monotonic() - self._retained_at >= _RETENTION_EVERY_SECONDS:
            self._retained_at = time.monotonic()
            asyncio.get_running_loop().run_in_executor(None, self.retain)

    def listen(self, event: asyncio.Event) -> None:
        self._appended.add(event)

    def unlisten(self, event: asyncio.Event) -> None:
        self._appended.discard(event)

    def retain(self) -> None:
        """Delete what is past its retention, and superseded records of compacted topics."""
        for name, retention_ms, is_compacted in self.read("SELECT name, retention_ms, is_compacted FROM topics"):
            with self.writing() as db:
                db.execute(
                    "DELETE FROM batches WHERE topic = ? AND timestamp_ms < ?", (name, self._now_ms() - retention_ms)
                )
                if is_compacted:
                    self._compact(db, name)

    def _compact(self, db: sqlite3.Connection, topic: str) -> None:
        seen: set[tuple[int, bytes]] = set()
        rows = db.execute(
            "SELECT id, partition, first_offset, payload FROM batches WHERE topic = ? ORDER BY last_offset DESC",
            (topic,),
        ).fetchall()
        for row_id, partition, first, payload in rows:
            stored = _unpack(payload)
            offsets = stored.offsets or list(range(first, first + len(stored.values)))
            kept = []
            for index in range(len(offsets) - 1, -1, -1):
                key = stored.keys[index]
                if key is None or (partition, key) not in seen:
                    kept.append(index)
                    if key is not None:
                        seen.add((partition, key))
            kept.reverse()
            if not kept:
                db.execute("DELETE FROM batches WHERE id = ?", (row_id,))
            elif len(kept) < len(offsets):
                smaller = _Row(
                    [offsets[i] for i in kept], [stored.keys[i] for i in kept], [stored.values[i] for i in kept]
                )
                db.execute("UPDATE batches SET payload = ? WHERE id = ?", (_pack(smaller), row_id))
