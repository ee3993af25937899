"""Files of rows, as `torghutctl ta replay-file` writes them: signals and bars, NDJSON or parquet."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, cast

import msgspec
import numpy as np

from torghut_core.errors import ConfigurationError, InputError
from torghut_core.rfc3339 import parse_ns
from torghut_core.trading.backtest.recording import BAR_COLUMNS, Floats
from torghut_core.trading.backtest.tables import SIGNAL_COLUMNS, Table
from torghut_core.trading.model import TIMEFRAMES

Kind = Literal["signals", "bars", "messages"]
_CHUNK_ROWS = 200_000
_MOST = 1e9
_POSITIVE = frozenset(["close", "o", "h", "l", "c"])

_Fields = list[tuple[str, Any] | tuple[str, Any, Any]]
_KEYS: _Fields = [("symbol", str), ("event_ts", str), ("window_size", str)]
_FINAL: _Fields = [("is_final", int, 1)]
_SIGNALS: _Fields = [("close", float), ("warm", int), *_FINAL]
_OPTIONAL: _Fields = [(name, float | None, None) for name in SIGNAL_COLUMNS if name not in ("close", "warm")]
_BARS: _Fields = [(name, float) for name in BAR_COLUMNS]
_SignalRow = msgspec.defstruct("SignalRow", [*_KEYS, *_SIGNALS, *_OPTIONAL], gc=False)
_BarRow = msgspec.defstruct("BarRow", [*_KEYS, *_BARS, *_FINAL], gc=False)
_ROWS: dict[str, tuple[Any, Sequence[str]]] = {"signals": (_SignalRow, SIGNAL_COLUMNS), "bars": (_BarRow, BAR_COLUMNS)}


def kind_of(path: Path) -> Kind:
    """Return what a file holds, by its first line or its parquet columns. Raises InputError when it cannot be read."""
    try:
        if _is_parquet(path):
            with _parquet(path) as file:
                names = set(file.schema_arrow.names)
            if not {"symbol", "event_ts", "window_size"} <= names:
                raise InputError(f"{path}: symbol, event_ts, window_size: a table of rows has these columns")
            return "signals" if "macd" in names else "bars"
        with _opened(path) as stream:
            line = next((line for line in stream if line.strip()), b"")
        first = msgspec.json.decode(line) if line else {}
    except (OSError, EOFError) as error:
        raise InputError(f"FILE {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except msgspec.DecodeError:
        return "messages"
    if isinstance(first, dict) and "window_size" in first:
        return "signals" if "macd" in first else "bars"
    return "messages"


def read_rows(path: Path, kind: Literal["signals", "bars"], table: Table) -> int:
    """Put a file's rows into `table` and return how many; raises InputError naming file, line, field and rule."""
    return _read_parquet(path, kind, table) if _is_parquet(path) else _read_ndjson(path, kind, table)


def _read_ndjson(path: Path, kind: str, table: Table) -> int:
    shape, columns = _ROWS[kind]
    decoder = msgspec.json.Decoder(shape)
    times: dict[str, int] = {}
    count, rows, first = 0, [], 1
    try:
        with _opened(path) as stream:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                try:
                    rows.append(decoder.decode(line))
                except msgspec.ValidationError as error:
                    raise InputError(f"{path}: line {number}: {_said(error)}") from error
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise InputError(f"{path}: line {number}: not a JSON object") from error
                if len(rows) >= _CHUNK_ROWS:
                    count += _add(path, rows, columns, table, times=times, first=first)
                    rows, first = [], number + 1
    except (OSError, EOFError) as error:
        raise InputError(f"FILE {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return count + _add(path, rows, columns, table, times=times, first=first)


def _add(
    path: Path, rows: list[Any], columns: Sequence[str], table: Table, *, times: dict[str, int], first: int
) -> int:
    rows = [row for row in rows if row.is_final == 1]
    if not rows:
        return 0
    ends = np.empty(len(rows), np.int64)
    for at, row in enumerate(rows):
        end = times.get(row.event_ts)
        if end is None:
            try:
                end = times[row.event_ts] = parse_ns(row.event_ts)
            except ValueError as error:
                where = f"{path}: line {first + at}"
                raise InputError(f"{where}: event_ts={row.event_ts[:40]!r}: must be RFC 3339") from error
        ends[at] = end
    none = float("nan")
    values = np.array(
        [[none if (value := getattr(row, name)) is None else value for name in columns] for row in rows], np.float64
    )
    _check(path, values, columns, first)
    _put([row.symbol for row in rows], [row.window_size for row in rows], ends, values, table=table, path=path)
    return len(rows)


def _check(path: Path, values: Floats, columns: Sequence[str], first: int) -> None:
    for at, name in enumerate(columns):
        column = values[:, at]
        bad = ~(np.abs(column) <= _MOST) & ~np.isnan(column)
        if name in _POSITIVE:
            bad |= ~(column > 0)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            rule = "above 0 and at most 10^9" if name in _POSITIVE else "a number of at most 10^9"
            raise InputError(f"{path}: line {first + row}: {name}={column[row]:g}: must be {rule}")


def _put(
    symbols: Sequence[str],
    sizes: Sequence[str],
    ends: np.ndarray[Any, Any],
    values: Floats,
    *,
    table: Table,
    path: Path,
) -> None:
    names, index = np.unique(np.array(symbols), return_inverse=True)
    kinds, which = np.unique(np.array(sizes), return_inverse=True)
    for at, size in enumerate(kinds.tolist()):
        if size not in TIMEFRAMES:
            raise InputError(f"{path}: window_size={size[:20]!r}: must be one of {', '.join(TIMEFRAMES)}")
        mask = which == at
        table.add(names.tolist(), index[mask].astype(np.int64), size, ends[mask], values[mask])


def _read_parquet(path: Path, kind: str, table: Table) -> int:
    import pyarrow

    _, columns = _ROWS[kind]
    nanoseconds, count = pyarrow.timestamp("ns", tz="UTC"), 0
    wanted = ["symbol", "event_ts", "window_size", *columns]
    with _parquet(path) as file:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise InputError(f"{path}: {', '.join(missing)}: a table of {kind} has these columns")
        for batch in file.iter_batches(batch_size=_CHUNK_ROWS, columns=wanted):
            read = {name: batch.column(at) for at, name in enumerate(wanted)}
            ends = read["event_ts"].cast(nanoseconds).cast("int64").to_numpy(zero_copy_only=False)
            values = np.stack([_floats(read[name]) for name in columns], axis=1)
            _check(path, values, columns, count + 1)
            symbols, sizes = read["symbol"].to_pylist(), read["window_size"].to_pylist()
            _put(symbols, sizes, ends, values, table=table, path=path)
            count += len(ends)
    return count


def _floats(column: Any) -> Floats:
    floats: Floats = column.cast("float64").to_numpy(zero_copy_only=False)
    return floats


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _parquet(path: Path) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ConfigurationError(
            f"{path}: pyarrow is not installed, which reads parquet", hint="pip install 'torghut[runtime,parquet]'"
        ) from error
    try:
        return parquet.ParquetFile(path)
    except ArrowException as error:
        raise InputError(f"{path}: is not a parquet file that can be read") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as stream:
        magic = stream.read(4)
        stream.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            with gzip.open(stream) as unpacked:
                yield cast(IO[bytes], unpacked)
        elif magic == b"\x28\xb5\x2f\xfd":
            import zstandard

            with zstandard.ZstdDecompressor().stream_reader(stream) as unpacked:
                yield io.BufferedReader(unpacked)
        else:
            yield stream


def _said(error: msgspec.ValidationError) -> str:
    """Return the field and the rule of `Expected `float | null`, got `str` - at `$.rsi14``."""
    text, _, path = str(error).partition(" - at ")
    field = path.strip("`").removeprefix("$.")
    return f"{field}: {text}" if field else text
