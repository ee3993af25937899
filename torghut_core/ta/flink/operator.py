"""The Python operator: a partition number is a key, its engine lives beside Flink's state and is packed into it.

PyFlink writes changed state to the JVM at the end of each bundle, and every checkpoint ends one first. What is put into
the state here is a promise: it packs the engine when it is written, once a bundle, and not once a block.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from torghut_core import heap
from torghut_core.clock import open_clock
from torghut_core.engines.clickhouse import open_clickhouse
from torghut_core.engines.kafka_ends import PartitionEnds
from torghut_core.settings import load
from torghut_core.ta.engine.engine import SourceName
from torghut_core.ta.flink.metrics import WorkerMetrics
from torghut_core.ta.flink.partition import Partition, RowWriter
from torghut_core.ta.outputs.clickhouse_sink import SchemaOptions
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.wiring import clickhouse_address, kafka_address, warm_up
from torghut_core.ta.worker import RETRY

LOOK_MS = 500
"""How often a partition number is looked at whether something is due though nothing comes."""


class _Packed:
    """State that is made when it is pickled, and read back as the bytes it was."""

    def __init__(self, pack: Callable[[], bytes]) -> None:
        self.pack = pack

    def __reduce__(self) -> tuple[type[bytes], tuple[bytes]]:
        return bytes, (self.pack(),)


class PartitionOperator(KeyedProcessFunction):  # type: ignore[misc]
    """`numbers` maps key to partition number, `starts` number to the first offset of each source."""

    def __init__(self, numbers: Mapping[int, int], starts: Mapping[int, Mapping[SourceName, int]]) -> None:
        self._numbers = dict(numbers)
        self._starts = {number: dict(each) for number, each in starts.items()}

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the settings where the worker runs: secrets are no part of the job."""
        self._settings = settings = load(TaSettings, dict(os.environ))
        # Blocks of megabytes come and go on several threads: new pages for each were a fifth of a worker's time.
        heap.share()
        heap.keep_large_blocks()
        self._clock = open_clock(settings.clock)
        warm_up()
        self._state = runtime_context.get_state(ValueStateDescriptor("partition", Types.PICKLED_BYTE_ARRAY()))
        self._partitions: dict[int, Partition] = {}
        self._told_at: dict[int, float] = {}
        self._metrics = WorkerMetrics(settings)
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
            )

    def close(self) -> None:
        """Close what was opened."""
        if not hasattr(self, "_runner"):
            return
        self._metrics.close()
        self._runner.run(self._ends.close())
        self._runner.close()
        if self._writer is not None:
            self._writer.close()

    def process_element(self, value: bytes, ctx: Any) -> Iterator[bytes]:
        """Take a block of records, and yield row blocks."""
        partition = self._partition(ctx)
        partition.take(value)
        yield from partition.emit()
        self._write(partition)
        self._keep(partition)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[bytes]:  # noqa: ARG002  PyFlink calls it so
        """Look whether something is due."""
        partition = self._partition(ctx)
        self._look_again(ctx)
        self._runner.run(partition.look(self._ends))
        out = partition.emit()
        yield from out
        if self._write(partition) or out:
            self._keep(partition)
        now, number = time.monotonic(), partition.job.number
        if now - self._told_at.get(number, -1e9) >= self._settings.checkpoint_interval_ms / 1000:
            self._told_at[number] = now
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
        self._state.update(_Packed(partition.packed))
