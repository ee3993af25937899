"""Checkpoints: engine state and input offsets of one partition number, written whole or not at all.

A checkpoint is a msgpack document, its arrays LZ4-compressed, behind a header that names format and version and a SHA-256
of the rest. It is read back only when all of these fit; anything else is refused by name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam
import msgspec
import numpy as np

from torghut_core.errors import ConfigurationError, UpstreamError
from torghut_core.ta.decoding.columns import Replacement
from torghut_core.ta.engine.engine import Engine, EngineSettings
from torghut_core.ta.engine.indicators import State
from torghut_core.ta.engine.quotes import QuoteColumns
from torghut_core.ta.engine.reduction import BarColumns, Change, Ticks

_MAGIC = b"TORGHUT-TA-CHECKPOINT\n"
FORMAT_VERSION = 5
_WINDOWS = {
    "window_bounds": ("window_end", "window_ps", "window_s"),
    "returns_bounds": ("returns_end", "returns"),
}
"""Per pair of bounds the arrays of which only what lies within them is ever read again."""


class CheckpointError(ConfigurationError):
    """A checkpoint is missing, damaged, or of another version."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a restart needs.

    `offsets` maps source to the next offset to read, `ingest_ms` is the last row time used, `output_rows` counts the rows
    that came out so far.
    """

    group: str
    partition: int
    offsets: Mapping[str, int]
    ingest_ms: int
    engine: Engine
    output_rows: int = 0


def pack(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as bytes."""
    body = {
        "group": checkpoint.group,
        "partition": checkpoint.partition,
        "offsets": dict(checkpoint.offsets),
        "ingest_ms": checkpoint.ingest_ms,
        "output_rows": checkpoint.output_rows,
        "engine": _engine_state(checkpoint.engine),
    }
    payload = msgspec.msgpack.encode(body, enc_hook=_encode_array)
    header = f"{FORMAT_VERSION} {hashlib.sha256(payload).hexdigest()}\n".encode()
    return _MAGIC + header + payload


def unpack(data: bytes, settings: EngineSettings, name: str) -> Checkpoint:
    """Return the checkpoint in `data`. Raises CheckpointError, naming `name`, when it cannot be trusted."""
    if not data.startswith(_MAGIC):
        raise CheckpointError(f"checkpoint {name}: is not one of this program")
    header, _, payload = data[len(_MAGIC) :].partition(b"\n")
    version, _, digest = header.decode("ascii", "replace").partition(" ")
    if version != str(FORMAT_VERSION):
        raise CheckpointError(
            f"checkpoint {name}: format version {version[:20]!r}, this program reads {FORMAT_VERSION}",
            hint="start with a new group id, or with the program that wrote it",
        )
    if hashlib.sha256(payload).hexdigest() != digest:
        raise CheckpointError(f"checkpoint {name}: is damaged (its digest does not fit)")
    body = msgspec.msgpack.decode(payload)
    return Checkpoint(
        group=body["group"],
        partition=body["partition"],
        offsets=body["offsets"],
        ingest_ms=body["ingest_ms"],
        output_rows=body["output_rows"],
        engine=_restored(body["engine"], settings, name),
    )


def _encode_array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        # Each by itself: the whole would stand in memory twice more, raw, on its way.
        return [value.dtype.str, list(value.shape), bytes(cramjam.lz4.compress(np.ascontiguousarray(value).tobytes()))]
    if isinstance(value, np.integer):
        return int(value)
    raise TypeError(f"{type(value).__name__} has no place in a checkpoint")


def _array(packed: Any) -> Any:
    dtype, shape, data = packed
    return np.frombuffer(bytearray(cramjam.lz4.decompress(data)), dtype).reshape(shape)


def _arithmetic(settings: EngineSettings) -> dict[str, int | str]:
    """What state depends on, by variable: a checkpoint taken under other values would be misread.

    Revising needs the trades of closed windows, which a state that drops late trades does not hold.
    """
    return {
        "TA_MAX_OUT_OF_ORDER_MS": settings.max_out_of_order_ms,
        "TA_VWAP_WINDOW_SECONDS": settings.vwap_window_seconds,
        "TA_REALIZED_VOL_WINDOW": settings.vol_window_seconds,
        "TA_LATE_TRADES": int(settings.revises_late_trades),
        "TA_TRADE_CONDITIONS": settings.trade_conditions,
        "TA_ODD_LOTS": settings.odd_lots,
        "TORGHUT_MARKET_CALENDAR": settings.calendar,
    }


def _engine_state(engine: Engine) -> dict[str, Any]:
    symbols = len(engine.names)
    cadences = {}
    for name, cadence in (("seconds", engine.seconds_cadence), ("minutes", engine.minutes_cadence)):
        cadences[name] = {
            "state": _packed_state(cadence.state, symbols),
            "newest_end": cadence.newest_end[:symbols],
            "newest_quotes": cadence.newest_quotes[:symbols],
            "first_anchor": cadence.first_anchor[:symbols],
            "provisional": [[*key, row] for key, row in cadence.provisional.items()],
        }
    return {
        "arithmetic": _arithmetic(engine.settings),
        "symbols": engine.names,
        "first_end": engine.first_end,
        "counts": [engine.counts.input_events, dict(engine.counts.rejected)],
        "conditions": [dict(engine.pricing.counts), engine.pricing.unknown],
        "guards": {
            source: [guard.held_at_ns, None if guard.held is None else list(guard.held)]
            for source, guard in engine.guards.items()
        },
        "held_changes": [list(change) for change in engine.held_changes],
        "trades": {
            "highest_ns": engine.trades.highest_ns,
            "late": [[met, isinstance(late, Change), list(late)] for met, late in engine.trades.late],
            "counts": [engine.trades.lost, engine.trades.repeated, engine.trades.unpriced, dict(engine.trades.changes)],
            "pending": list(engine.trades.pending),
            "closed": list(engine.trades.closed),
            "closed_until": engine.trades.closed_until,
        },
        "quotes": {
            "highest_ns": engine.quotes.highest_ns,
            "newest": [column[:symbols] for column in engine.quotes.newest],
            "forgotten_until": engine.quotes.forgotten_until,
            "pending": list(engine.quotes.pending),
        },
        "minutes": {
            "highest_ns": engine.minutes.highest_ns,
            "newest_end": engine.minutes.newest_end[:symbols],
            "pending": [[list(bars), kind] for bars, kind in engine.minutes.pending],
        },
        "completeness": [column[:symbols] for column in engine.completeness.columns],
        "cadences": cadences,
    }


def _packed_state(state: State, symbols: int) -> dict[str, Any]:
    """Return a state's arrays for the first `symbols` symbols; of the windows what lies within their bounds."""
    packed = {name: array[:symbols] for name, array in state._asdict().items()}
    for bounds, names in _WINDOWS.items():
        live = _within(packed[bounds], packed[names[0]].shape[1])
        packed |= {name: packed[name][live] for name in names}
    return packed


def _restored_state(stored: dict[str, Any], empty: State) -> State:
    """Return the state that `_packed_state` packed, windows at the front; `empty` has its widths and types."""
    arrays = {name: _array(packed) for name, packed in stored.items()}
    for bounds, names in _WINDOWS.items():
        low, high = arrays[bounds].T
        arrays[bounds] = np.stack([np.zeros_like(low), high - low], axis=1)
        live = _within(arrays[bounds], getattr(empty, names[0]).shape[1])
        for name in names:
            whole = np.zeros(live.shape, getattr(empty, name).dtype)
            whole[live] = arrays[name]
            arrays[name] = whole
    return State(**arrays)


def _within(bounds: Any, width: int) -> Any:
    column = np.arange(width)
    return (column >= bounds[:, :1]) & (column < bounds[:, 1:])


def _restored(body: dict[str, Any], settings: EngineSettings, name: str) -> Engine:
    expected = _arithmetic(settings)
    if body["arithmetic"] != expected:
        changed = [key for key in expected if body["arithmetic"].get(key) != expected[key]]
        raise CheckpointError(
            f"checkpoint {name}: was taken with other values of {', '.join(changed)}",
            hint="restore those settings, or start with a new group id",
        )
    engine = Engine(settings)
    engine.names = list(body["symbols"])
    engine.numbers = {symbol: number for number, symbol in enumerate(engine.names)}
    engine.first_end = body["first_end"]
    engine.counts.input_events = body["counts"][0]
    engine.counts.rejected.update(body["counts"][1])
    engine.pricing.counts.update(body["conditions"][0])
    engine.pricing.unknown = body["conditions"][1]
    for source, (held_at_ns, held) in body["guards"].items():
        guard = engine.guards[source]
        guard.held_at_ns = held_at_ns
        guard.held = None if held is None else tuple(map(_array, held))
    engine.held_changes = [_change(stored) for stored in body["held_changes"]]
    engine.completeness.restore([_array(column) for column in body["completeness"]])
    trades, quotes, minutes = body["trades"], body["quotes"], body["minutes"]
    engine.trades.highest_ns, engine.trades.closed_until = trades["highest_ns"], trades["closed_until"]
    engine.trades.late = [
        (met, _change(late) if is_change else Ticks._make(map(_array, late))) for met, is_change, late in trades["late"]
    ]
    engine.trades.lost, engine.trades.repeated, engine.trades.unpriced = trades["counts"][:3]
    engine.trades.changes.update(trades["counts"][3])
    engine.trades.pending = Ticks._make(map(_array, trades["pending"]))
    engine.trades.closed = Ticks._make(map(_array, trades["closed"]))
    engine.quotes.highest_ns = quotes["highest_ns"]
    engine.quotes.newest = QuoteColumns._make(map(_array, quotes["newest"]))
    engine.quotes.forgotten_until = quotes["forgotten_until"]
    engine.quotes.restore(QuoteColumns._make(map(_array, quotes["pending"])))
    engine.minutes.highest_ns = minutes["highest_ns"]
    engine.minutes.newest_end = _array(minutes["newest_end"])
    engine.minutes.pending = [(BarColumns._make(map(_array, bars)), _array(kind)) for bars, kind in minutes["pending"]]
    for key, cadence in (("seconds", engine.seconds_cadence), ("minutes", engine.minutes_cadence)):
        stored = body["cadences"][key]
        cadence.state = _restored_state(stored["state"], cadence.state)
        cadence.newest_end = _array(stored["newest_end"])
        cadence.newest_quotes = _array(stored["newest_quotes"])
        cadence.first_anchor = _array(stored["first_anchor"])
        cadence.provisional = {(symbol, end): row for symbol, end, row in stored["provisional"]}
    engine.count()
    return engine


def _change(stored: list[Any]) -> Change:
    symbol, identity, replacement = stored
    return Change(symbol, identity, None if replacement is None else Replacement(*replacement))


class CheckpointStore:
    """Checkpoints under one address: `file:DIR` or `s3:…` (through fsspec; `s3a:` is read as `s3:`)."""

    def __init__(self, address: str, s3_options: Mapping[str, Any] | None = None) -> None:
        kind, separator, rest = address.partition(":")
        if not separator or kind not in ("file", "s3", "s3a") or not rest.strip("/"):
            raise ConfigurationError(f"TA_CHECKPOINT_DIR={address!r}: must be file:DIR or s3://BUCKET/PREFIX")
        self._folder: Path | None = None
        self._remote: Any = None
        if kind == "file":
            self._folder = Path(rest.removeprefix("//") if rest.startswith("///") else rest)
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(
                    f"TA_CHECKPOINT_DIR={address!r}: cannot be used as a folder: {error.strerror}"
                ) from error
        else:
            import fsspec

            try:
                # Another process writes here too: what was listed once is not what is there.
                self._remote = fsspec.filesystem("s3", use_listings_cache=False, **dict(s3_options or {}))
            except ImportError as error:
                raise ConfigurationError(
                    f"TA_CHECKPOINT_DIR={address!r}: s3 support is not installed", hint="pip install 'torghut[s3]'"
                ) from error
            self._prefix = rest.strip("/")

    def write(self, name: str, data: bytes) -> None:
        """Store `data` under `name`, whole or not at all. Raises UpstreamError when the store fails."""
        try:
            if self._folder is not None:
                path = self._folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                scratch = path.with_name(path.name + ".new")
                try:
                    with scratch.open("wb") as file:
                        file.write(data)
                        file.flush()
                        os.fsync(file.fileno())
                    scratch.replace(path)
                except OSError:
                    scratch.unlink(missing_ok=True)  # half a file would keep a full disk full
                    raise
                _to_disk(path.parent)  # the name too, before a commit names it
            else:
                self._remote.pipe_file(f"{self._prefix}/{name}", data)
        except Exception as error:
            raise UpstreamError(f"checkpoint {name} cannot be written ({type(error).__name__})") from error

    def read(self, name: str) -> bytes | None:
        """Return what is stored under `name`, None when there is nothing."""
        try:
            if self._folder is not None:
                return (self._folder / name).read_bytes()
            found: bytes = self._remote.cat_file(f"{self._prefix}/{name}")
            return found
        except FileNotFoundError:
            return None
        except Exception as error:
            raise UpstreamError(f"checkpoint {name} cannot be read ({type(error).__name__})") from error

    def names(self, folder: str) -> list[str]:
        """Return what is stored below `folder`, each as `folder/…`; what a crash left half written as well."""
        try:
            if self._folder is not None:
                return [f"{folder}/{path.name}" for path in sorted((self._folder / folder).glob("*"))]
            prefix = f"{self._prefix}/{folder}"
            return [f"{folder}/{path.rpartition('/')[2]}" for path in self._remote.find(prefix)]
        except FileNotFoundError:
            return []
        except Exception as error:
            raise UpstreamError(f"checkpoints of {folder} cannot be listed ({type(error).__name__})") from error

    def delete(self, name: str) -> None:
        """Remove `name`; it need not be there."""
        try:
            if self._folder is not None:
                (self._folder / name).unlink(missing_ok=True)
            elif self._remote.exists(f"{self._prefix}/{name}"):
                self._remote.rm_file(f"{self._prefix}/{name}")
        except Exception as error:
            raise UpstreamError(f"checkpoint {name} cannot be deleted ({type(error).__name__})") from error


def _to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
