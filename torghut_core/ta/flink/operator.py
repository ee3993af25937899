"""The Python operator: a partition number is a key, its engine lives beside Flink's state and is packed into it.

It runs in the task's own thread within the JVM. To pack an engine takes milliseconds: it is done where state is about to
be taken, for which the blocks' operator sends an empty block before each checkpoint's barrier, and when a timer has
changed something, since that may be after the empty block and before the barrier.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from torghut_core import heap, logs
from torghut_core.clock import open_clock
from torghut_core.engines.clickhouse import open_clickhouse
from torghut_core.engines.kafka_ends import PartitionEnds
from torghut_core.logs import event
from torghut_core.settings import load
from torghut_core.ta.engine.engine import SourceName
from torghut_core.ta.flink.metrics import SubtaskMetrics
from torghut_core.ta.flink.partition import Partition, RowWriter
from torghut_core.ta.outputs.clickhouse_sink import SchemaOptions
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.wiring import clickhouse_address, kafka_address, warm_up
from torghut_core.ta.worker import RETRY

_logger = logging.getLogger("torghut.ta.flink")
LOOK_MS = 500
"""How often a partition number is looked at whether something is due though nothing comes."""
_CANCELLED_SECONDS = 0.2


def _handler() -> logging.Handler:
    """Return what puts a record into the JVM's own log: nobody reads this interpreter's standard error."""
    from pemja.logger import PythonLogHandler

    handler: logging.Handler = PythonLogHandler()
    return handler


def _task() -> Any:
    """Return the Java thread that this runs in: a task's own."""
    from pemja import findClass

    return findClass("java.lang.Thread").currentThread()


def _pause(seconds: float) -> None:
    """Wait, in a task's thread. Raises InterruptedError when the task is cancelled meanwhile."""
    task, end = _task(), time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if task.isInterrupted():
            raise InterruptedError("the task is cancelled")
        time.sleep(min(left, _CANCELLED_SECONDS))


class _Opened:
    """The operators of this process, with their tasks' threads.

    PyFlink closes none of a task that failed, was cancelled or stopped with a savepoint, and lets none go either.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operators: list[tuple[Any, PartitionOperator]] = []

    def add(self, operator: PartitionOperator) -> None:
        """Take an operator in that is opened by its task."""
        with self._lock:
            self._operators.append((_task(), operator))

    def close_ended(self) -> None:
        """Close those whose task has ended."""
        with self._lock:
            ended = [operator for task, operator in self._operators if not task.isAlive()]
            self._operators = [each for each in self._operators if each[1] not in ended]
        for operator in ended:
            try:
                operator.close()
            except Exception as error:  # noqa: BLE001  what is over must not end the task that asks
                event(_logger, "operator_not_closed", logging.WARNING, error_type=type(error).__name__)


_OPENED = _Opened()


class PartitionOperator(KeyedProcessFunction):  # type: ignore[misc]
    """`numbers` maps key to partition number, `starts` number to the first offset of each source."""

    def __init__(self, numbers: Mapping[int, int], starts: Mapping[int, Mapping[SourceName, int]]) -> None:
        self._numbers = dict(numbers)
        self._starts = {number: dict(each) for number, each in starts.items()}
        self._runner: asyncio.Runner | None = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the settings where the task runs: secrets are no part of the job."""
        logs.configure(handler=_handler())
        _OPENED.add(self)
        _OPENED.close_ended()
        self._settings = settings = load(TaSettings, dict(os.environ))
        # Blocks of megabytes come and go on several threads: new pages for each were a fifth of Python's time.
        heap.share()
        heap.keep_large_blocks()
        self._clock = open_clock(settings.clock)
        warm_up()
        self._state = runtime_context.get_state(ValueStateDescriptor("partition", Types.PICKLED_BYTE_ARRAY()))
        self._partitions: dict[int, Partition] = {}
        self._changed: set[int] = set()
        """Numbers whose engine is not what their state says."""
        self._told_at: dict[int, float] = {}
        self._metrics = SubtaskMetrics(settings)
        self._runner = asyncio.Runner()
        self._ends = PartitionEnds(kafka_address(settings))
        self._writer: RowWriter | None = None
        if settings.clickhouse_url is not None:
            self._writer = RowWriter(
                lambda: open_clickhouse(clickhouse_address(settings)),
                SchemaOptions(cluster=settings.clickhouse_cluster, is_simulated=self._clock.is_simulated),
                most_rows=settings.clickhouse_batch_size,
                flush_seconds=settings.clickhouse_flush_ms / 1000,
                backoff=RETRY,
                on_failure=self._observe,
                sleep=_pause,
            )

    def close(self) -> None:
        """Close what was opened, and let the engines go; a second time nothing."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        self._metrics.close()
        runner.run(self._ends.close())
        runner.close()
        if self._writer is not None:
            self._writer.close()
        self._partitions.clear()

    def process_element(self, value: bytes, ctx: Any) -> Iterator[bytes]:
        """Take a block of records, and yield row blocks; an empty one says that state is about to be taken."""
        partition = self._partition(ctx)
        if not value:
            self._keep(partition)
            return
        partition.take(value)
        self._changed.add(partition.job.number)
        yield from partition.emit()
        self._write(partition)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[bytes]:  # noqa: ARG002  PyFlink calls it so
        """Look whether something is due."""
        partition = self._partition(ctx)
        self._look_again(ctx)
        assert self._runner is not None
        self._runner.run(partition.look(self._ends))
        out = partition.emit()
        yield from out
        if self._write(partition) or out:
            self._changed.add(partition.job.number)
            self._keep(partition)
        now, number = time.monotonic(), partition.job.number
        if now - self._told_at.get(number, -1e9) >= self._settings.checkpoint_interval_ms / 1000:
            self._told_at[number] = now
            _OPENED.close_ended()
            yield partition.status()
        self._observe()

    def _partition(self, ctx: Any) -> Partition:
        key = ctx.get_current_key()
        found = self._partitions.get(key)
        if found is None:
            number = self._numbers[key]
            held = self._state.value()
            found = Partition(number, self._settings, self._starts[number], self._clock, held)
            self._partitions[key] = found
            self._look_again(ctx)
        return found

    def _observe(self) -> None:
        self._metrics.observe(self._partitions.values(), self._writer, time.monotonic())

    def _look_again(self, ctx: Any) -> None:
        timers = ctx.timer_service()
        timers.register_processing_time_timer((timers.current_processing_time() // LOOK_MS + 1) * LOOK_MS)

    def _write(self, partition: Partition) -> bool:
        writer = self._writer
        return writer is not None and writer.write_due(partition.job.number, partition.rows, time.monotonic())

    def _keep(self, partition: Partition) -> None:
        if partition.job.number in self._changed:
            self._state.update(partition.packed())
            self._changed.discard(partition.job.number)
