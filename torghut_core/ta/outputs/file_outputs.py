"""Where the rows of a recording go: files of a folder, or the tables of a ClickHouse. Whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from torghut_core.engines.clickhouse import ClickHouse
from torghut_core.errors import ConfigurationError, InputError
from torghut_core.rfc3339 import format_ns
from torghut_core.ta.outputs.clickhouse_sink import SchemaOptions, create_schema, verify_schema
from torghut_core.ta.outputs.rows import COLUMNS, MICROBARS, SIGNALS, TableRows, by_days, to_native

FileFormat = Literal["ndjson", "parquet"]
_TIMES = frozenset(["event_ts", "ingest_ts", "window_start", "window_end"])
_BLOCK_ROWS = 50_000
"""Rows of one insert, unless they are of very many days: few large parts, never a storm of small ones."""


class Output(Protocol):
    """Takes the rows of a file as they come, and shows them when all are there."""

    rows: dict[str, int]
    """Rows taken, by table."""

    def write(self, tables: list[TableRows]) -> None: ...
    def publish(self) -> None: ...


@contextmanager
def _writing(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{where}: cannot be written: {error.strerror or type(error).__name__}") from error


class _Table(Protocol):
    def write(self, rows: TableRows) -> None: ...
    def close(self) -> None: ...


class _Ndjson:
    def __init__(self, path: Path, table: str) -> None:
        self._file = path.open("wb")
        fields = [(name, Any) for name in COLUMNS[table]]
        self._row = msgspec.defstruct("Row", fields, gc=False)
        self._encode = msgspec.json.Encoder().encode_lines

    def write(self, rows: TableRows) -> None:
        columns = rows.clickhouse_columns()
        for name in _TIMES:
            said = {ms: format_ns(ms * 1_000_000) for ms in set(columns[name])}
            columns[name] = [said[ms] for ms in columns[name]]
        self._file.write(self._encode([self._row(*values) for values in zip(*columns.values(), strict=True)]))

    def close(self) -> None:
        if not self._file.closed:
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())


class _Parquet:
    def __init__(self, path: Path, table: str) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise ConfigurationError(
                "--format parquet: pyarrow is not installed", hint="pip install 'torghut[runtime,parquet]'"
            ) from error
        kinds: dict[str, Any] = {name: pyarrow.float64() for name in COLUMNS[table]}
        kinds |= dict.fromkeys(_TIMES, pyarrow.timestamp("ms", tz="UTC"))
        kinds |= dict.fromkeys(["symbol", "source", "window_size", "window_step"], pyarrow.string())
        kinds |= {"seq": pyarrow.uint64(), "is_final": pyarrow.uint8(), "version": pyarrow.uint32()}
        kinds |= {"count": pyarrow.uint64()} if table == MICROBARS else {"warm": pyarrow.uint8()}
        self._schema = pyarrow.schema([(name, kinds[name]) for name in COLUMNS[table]])
        self._batch = pyarrow.RecordBatch.from_pydict
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: TableRows) -> None:
        self._writer.write_batch(self._batch(rows.clickhouse_columns(), schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class FolderOutput:
    """A file per table, under scratch names until `publish`; `stack` clears away what was not published."""

    def __init__(self, folder: Path, file_format: FileFormat, stack: ExitStack) -> None:
        make = _Ndjson if file_format == "ndjson" else _Parquet
        self._folder = folder
        self._paths: dict[Path, Path] = {}
        self._tables: dict[str, _Table] = {}
        self.rows = {MICROBARS: 0, SIGNALS: 0}
        with self._writing():
            stack.callback(_remove_made, [each for each in (folder, *folder.parents) if not each.exists()])
            folder.mkdir(parents=True, exist_ok=True)
            for table in (MICROBARS, SIGNALS):
                final = folder / f"{table.partition('.')[2]}.{file_format}"
                if final.is_dir():
                    raise InputError(f"DIR={folder}: cannot be written: {final.name} in it is a folder")
                scratch = folder / f".{final.name}.{os.getpid()}.part"
                stack.callback(scratch.unlink, missing_ok=True)
                self._tables[table] = make(scratch, table)
                stack.callback(self._abandon, table)
                self._paths[scratch] = final

    def _writing(self) -> AbstractContextManager[None]:
        return _writing(f"DIR={self._folder}")

    def _abandon(self, table: str) -> None:
        with suppress(OSError):  # what made it fail has been told
            self._tables[table].close()

    def write(self, tables: list[TableRows]) -> None:
        with self._writing():
            for rows in tables:
                self._tables[rows.table].write(rows)
                self.rows[rows.table] += len(rows)

    def publish(self) -> None:
        with self._writing():
            for table in self._tables.values():
                table.close()
            for scratch, final in self._paths.items():
                scratch.replace(final)


def _remove_made(folders: list[Path]) -> None:
    """Remove the folders that were made, innermost first, where nothing was put into them."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


class ClickHouseOutput:
    """Rows wait in a temporary file until the recording was read to its end; then `insert` takes them block by block.

    An insert that fails leaves the blocks before it; the same command again writes the same keys, newer.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.rows = {MICROBARS: 0, SIGNALS: 0}
        self._waiting: dict[str, list[TableRows]] = {MICROBARS: [], SIGNALS: []}
        with self._writing():
            self._spool = tempfile.TemporaryFile()  # noqa: SIM115  the stack closes it
        stack.callback(self._abandon)
        self._blocks: list[tuple[str, int]] = []

    @staticmethod
    def _writing() -> AbstractContextManager[None]:
        return _writing(f"TMPDIR={tempfile.gettempdir()}")

    def _abandon(self) -> None:
        with suppress(OSError):
            self._spool.close()

    def write(self, tables: list[TableRows]) -> None:
        for rows in tables:
            waiting = self._waiting[rows.table]
            waiting.append(rows)
            self.rows[rows.table] += len(rows)
            if sum(map(len, waiting)) >= _BLOCK_ROWS:
                self._spool_block(rows.table)

    def _spool_block(self, table: str) -> None:
        waiting, self._waiting[table] = self._waiting[table], []
        for part in by_days(waiting) if waiting else ():
            block = to_native(part)
            with self._writing():
                self._spool.write(block)
                self._spool.flush()
            self._blocks.append((table, len(block)))

    def publish(self) -> None:
        """Every row is there: `insert` may begin."""
        for table in self._waiting:
            self._spool_block(table)

    def insert(self, clickhouse: ClickHouse, options: SchemaOptions) -> None:
        """Create and verify the tables, and insert every row. Raises SchemaError, ClickHouseError."""
        create_schema(clickhouse, options)
        verify_schema(clickhouse, options)
        self._spool.seek(0)
        for table, size in self._blocks:
            clickhouse.insert(table, COLUMNS[table], self._spool.read(size))
