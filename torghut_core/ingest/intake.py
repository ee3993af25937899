"""Frames off the socket to rows of finished envelopes, whole frames at a time.

Compiled passes take trades and quotes as they usually are; what they leave is read by a full parser, in its place among
the others, so that order and sequence numbers are those of arrival. Rows gather until they are cut, and are then split
by topic and partition for the lanes to Kafka.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from torghut_core.byte_words import address
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.kafka import partition_of
from torghut_core.envelope import Channel, Envelope, Source, decode, encode
from torghut_core.ingest import json_rows, msgpack_rows
from torghut_core.ingest.messages import CONTROL, Message, MessageError, decode_value, read_message, trade_id_of
from torghut_core.ingest.rows import (
    BYTES,
    CHANNELS,
    DONE,
    FULL,
    NEWEST_QUOTE_NS,
    NEWEST_TRADE_NS,
    NOT_SUBSCRIBED,
    PADDING,
    REPEATED_QUOTES,
    REPEATED_TRADES,
    ROWS,
    STATUS,
    TRADES,
    UNUSUAL,
    UPDATED_BARS,
    SymbolTable,
    packed_column,
    pass_context,
    rows_with_room,
)
from torghut_core.ingest.seen import SeenTable, forget, identity_of, is_repeat, quote_identity, trade_identity
from torghut_core.ingest.writing import INGEST_AT, envelope_parts
from torghut_core.rfc3339 import format_ns

_ROOM_BYTES, _ROOM_ROWS = 2 << 20, 8192
_CUT_AT_BYTES = 1 << 20


@dataclass(frozen=True)
class Chunk:
    """Envelopes of one channel and partition, in the order they came."""

    channel: str
    partition: int
    keys: ByteColumn
    values: ByteColumn
    places: NDArray[np.int64]
    at_ns: NDArray[np.int64]
    size: int
    """Bytes of the values."""

    def __len__(self) -> int:
        return len(self.values)

    def part(self, start: int, stop: int) -> Chunk:
        """Return the records from place `start` to before `stop`."""
        its = slice(start, stop)
        values = self.values[its]
        size = int((values.ends - values.starts).sum())
        return Chunk(self.channel, self.partition, self.keys[its], values, self.places[its], self.at_ns[its], size)

    @property
    def first_ns(self) -> int:
        return int(self.at_ns.min())

    @property
    def last_ns(self) -> int:
        return int(self.at_ns.max())


@dataclass
class Intake:
    """Takes frames of one feed; `cut` returns what they became."""

    feed: str
    is_msgpack: bool
    first_sequence: int
    dedup_ttl_seconds: float
    dedup_max_entries: int
    partitions: Mapping[str, int]
    """Channel to the number of its topic's partitions."""
    trade_memory: int = 0
    """Trades remembered beyond the time to live, for backfill."""
    monotonic: Callable[[], float] = time.monotonic
    dropped: dict[str, int] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    received: int = 0
    """Market-data messages, the bad ones too."""
    newest_ns: dict[str, int] = field(default_factory=dict)
    """The newest event time by channel, trades and quotes."""

    def __post_init__(self) -> None:
        self.symbols = SymbolTable(self.first_sequence)
        self._rows = rows_with_room(_ROOM_BYTES, _ROOM_ROWS)
        self._parts = envelope_parts(self.feed)
        self._seen = SeenTable(self.dedup_ttl_seconds, self.dedup_max_entries)
        self._kept = SeenTable(float("inf"), self.trade_memory) if self.trade_memory else None
        self._scratch = np.zeros(msgpack_rows.SCRATCH_SIZE, np.uint8)
        self._minute = np.zeros(64, np.uint8)
        self._connect()
        self._cut: list[Chunk] = []
        self._key_partitions: dict[int, NDArray[np.int64]] = {}
        self.messages: list[Message] = []
        """Bars and statuses of the last frame, for whoever keeps account of them."""

    def want(self, symbols: Iterable[str]) -> None:
        """Take messages of these symbols from now on."""
        self.symbols.add(sorted(symbols))
        self._connect()

    def _connect(self) -> None:
        scratch = (self._scratch, self._minute)
        self._context = pass_context(self._parts, self._rows, self.symbols.arrays, scratch, self._seen, self._kept)
        self._context_at = address(self._context)

    # Frames.

    def take(self, frame: bytes, ingest_ns: int) -> list[dict[str, Any]]:
        """Take a frame's market data and return its control messages."""
        if not frame:
            self._drop("undecodable_frame")
            return []
        self._stamp(ingest_ns)
        now = self.monotonic()
        data = np.frombuffer(frame + PADDING if self.is_msgpack else frame + b"\n" + PADDING, np.uint8)
        if self.is_msgpack:
            return self._take_msgpack(frame, data, now, ingest_ns)
        return self._take_json(frame, data, now, ingest_ns)

    def _stamp(self, ingest_ns: int) -> None:
        seconds, rest = divmod(ingest_ns, 1_000_000_000)
        text = f"{format_ns(seconds * 1_000_000_000)[:19]}.{rest // 1000:06d}Z".encode()
        self._parts.text[INGEST_AT : INGEST_AT + 27] = np.frombuffer(text, np.uint8)

    def _take_msgpack(self, frame: bytes, data: NDArray[np.uint8], now: float, ingest_ns: int) -> list[dict[str, Any]]:
        control: list[dict[str, Any]] = []
        at, remaining = _array_header(frame)
        limit, place = len(frame), address(data)
        while remaining:
            before = remaining
            ended, at, remaining = msgpack_rows.scan(place, at, limit, remaining, self._context_at, now)
            self.received += before - remaining
            if ended == FULL and self._rows.counts[ROWS]:
                self._make_room()
            elif ended != DONE:  # also what is longer than all the room there is
                end = msgpack_rows.value_end(place, at, limit)
                if end < 0:
                    self._drop("undecodable_frame")
                    return control
                self._take_value(frame[at:end], ingest_ns, now, control)
                at, remaining = end, remaining - 1
        return control

    def _take_json(self, frame: bytes, data: NDArray[np.uint8], now: float, ingest_ns: int) -> list[dict[str, Any]]:
        control: list[dict[str, Any]] = []
        start = len(frame) - len(frame.lstrip())
        is_list = frame[start : start + 1] == b"["
        at, limit, place = start + is_list, len(frame), address(data)
        if is_list and frame[at:].lstrip()[:1] == b"]":
            return control
        while True:
            ended = UNUSUAL
            if is_list:
                ended, at, taken = json_rows.scan(place, at, limit, self._context_at, now)
                self.received += taken
            if ended == DONE:
                return control
            if ended == FULL and self._rows.counts[ROWS]:
                self._make_room()
                continue
            end = json_rows.value_end(place, at, limit) if is_list else limit
            if is_list and end == limit:
                self._drop("undecodable_frame")
                return control
            self._take_value(frame[at:end], ingest_ns, now, control)
            if frame[end : end + 1] != b",":
                return control
            at = end + 1

    def _take_value(self, text: bytes, ingest_ns: int, now: float, control: list[dict[str, Any]]) -> None:
        try:
            value = decode_value(text, is_msgpack=self.is_msgpack)
            if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
                raise MessageError("not_an_object")
            if value.get("T") in CONTROL if isinstance(value.get("T"), str) else False:
                control.append(value)
                return
            self.received += 1
            self.put(read_message(value), ingest_ns, "ws", now=now)
        except MessageError as error:
            self._drop(str(error))

    # Single messages.

    def put(self, message: Message, ingest_ns: int, source: Source, *, now: float | None = None) -> bool:
        """Put a message among the rows; tell whether it went in (false: a repeat, or of a symbol nobody wanted).

        Of messages that REST brings, a trade is compared with all that are remembered, and nothing else with anything.
        """
        place = self.symbols.places.get(message.symbol)
        name = CHANNELS[message.channel]
        if place is None:
            self._drop("not_subscribed")
            return False
        if message.trade_id is not None and len(message.symbol) <= 8:
            exchange, number = message.trade_id
            identity = trade_identity(message.symbol, exchange, number)
        elif message.quote is not None and len(message.symbol) <= 8:
            identity = quote_identity(message.symbol, message.at_ns, *message.quote)
        else:
            identity = identity_of(message.identity)
        now = self.monotonic() if now is None else now
        is_trade = message.channel == TRADES and message.payload.get("T") is None
        if source == "ws" and is_repeat(self._seen.address, *identity, now):
            self.repeats[name] = self.repeats.get(name, 0) + 1
            return False
        if is_trade and self._kept is not None and is_repeat(self._kept.address, *identity, now) and source == "rest":
            return False
        event_ts = message.event_ts
        self._append(
            encode(
                Envelope(
                    ingest_ts=format_ns(ingest_ns // 1000 * 1000),
                    event_ts=event_ts,
                    feed=self.feed,
                    channel=cast("Channel", name),
                    symbol=message.symbol,
                    seq=self.symbols.next_sequence(place, message.channel),
                    is_final=message.channel != UPDATED_BARS,
                    source=source,
                    window=None,
                    payload=message.payload,
                )
            ),
            message.channel,
            place,
            message.at_ns,
        )
        if message.channel not in (TRADES,) or not is_trade:
            self.messages.append(message)
        return True

    def remember_trade(self, symbol: str, exchange: str, number: int) -> None:
        """Know a trade that is in the topic already."""
        if self._kept is not None and len(symbol) <= 8 and 0 < len(exchange) <= 8 and 0 <= number < 1 << 63:
            is_repeat(self._kept.address, *trade_identity(symbol, exchange, number), self.monotonic())

    def forget_trades(self, chunk: Chunk) -> None:
        """Forget trades that will not be in the topic, so that backfill may bring them."""
        if self._kept is None or chunk.channel != "trades":
            return
        for value in chunk.values:
            payload = decode(value).payload
            trade_id = trade_id_of(payload)
            if trade_id is not None and payload.get("T") is None and len(payload["S"]) <= 8:
                forget(self._kept.address, *trade_identity(payload["S"], *trade_id))

    def _append(self, value: bytes, channel: int, place: int, at_ns: int) -> None:
        counts = self._rows.counts
        if counts[ROWS] == len(self._rows.ends) or int(counts[BYTES]) + len(value) > len(self._rows.data) - 64:
            self._make_room()
        if len(value) > len(self._rows.data) - 64:  # longer than all the room there is
            self._cut += self._chunks(
                np.frombuffer(value + bytes(8), np.uint8),
                *(np.array([each]) for each in (channel, place, len(value), at_ns)),
            )
            return
        start, row = int(counts[BYTES]), int(counts[ROWS])
        self._rows.data[start : start + len(value)] = np.frombuffer(value, np.uint8)
        self._rows.channel[row], self._rows.place[row] = channel, place
        self._rows.ends[row], self._rows.at_ns[row] = start + len(value), at_ns
        counts[ROWS], counts[BYTES] = row + 1, start + len(value)

    # Rows.

    @property
    def is_due(self) -> bool:
        """Tell whether enough has gathered to be cut before its time."""
        return bool(self._cut) or int(self._rows.counts[BYTES]) >= _CUT_AT_BYTES

    @property
    def is_empty(self) -> bool:
        return not self._cut and not self._rows.counts[ROWS]

    def newest(self) -> dict[str, int]:
        """Return the newest event time by channel, of trades and quotes since the start."""
        counts = self._rows.counts
        for place, name in ((NEWEST_TRADE_NS, "trades"), (NEWEST_QUOTE_NS, "quotes")):
            if counts[place]:
                self.newest_ns[name] = int(counts[place])
        return self.newest_ns

    def cut(self) -> list[Chunk]:
        """Return what has gathered, by channel and partition."""
        self._make_room()
        chunks, self._cut = self._cut, []
        return chunks

    def _make_room(self) -> None:
        counts = self._rows.counts
        rows = int(counts[ROWS])
        for place, name in ((REPEATED_TRADES, "trades"), (REPEATED_QUOTES, "quotes")):
            if counts[place]:
                self.repeats[name] = self.repeats.get(name, 0) + int(counts[place])
        if counts[NOT_SUBSCRIBED]:
            self.dropped["not_subscribed"] = self.dropped.get("not_subscribed", 0) + int(counts[NOT_SUBSCRIBED])
        self.newest()
        if rows:
            found = self._rows
            self._cut += self._chunks(
                found.data, found.channel[:rows], found.place[:rows], found.ends[:rows], found.at_ns[:rows]
            )
        counts[:] = 0

    def _chunks(
        self,
        data: NDArray[np.uint8],
        channels: NDArray[Any],
        places: NDArray[np.int64],
        ends: NDArray[np.int64],
        at_ns: NDArray[np.int64],
    ) -> list[Chunk]:
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        found = []
        for channel in np.flatnonzero(np.bincount(channels, minlength=len(CHANNELS))).tolist():
            name = CHANNELS[channel]
            count = self.partitions[name]
            its = np.flatnonzero(channels == channel)
            by_partition = self._partitions_of(count)[places[its]]
            for partition in range(count):
                rows = its[by_partition == partition]
                if len(rows):
                    values = packed_column(data, starts[rows], ends[rows])
                    size = int(values.ends[-1])
                    its_places = places[rows]
                    keys = self.symbols.keys(its_places)
                    found.append(Chunk(name, partition, keys, values, its_places, at_ns[rows], size))
        return found

    def _partitions_of(self, count: int) -> NDArray[np.int64]:
        known = self._key_partitions.get(count)
        if known is None or len(known) < len(self.symbols.names):
            names = self.symbols.names
            known = np.fromiter((partition_of(name.encode(), count) for name in names), np.int64, len(names))
            self._key_partitions[count] = known
        return known

    def _drop(self, reason: str, count: int = 1) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def drop(self, reason: str, count: int = 1) -> None:
        """Count messages that could not be used."""
        self._drop(reason, count)


def _array_header(frame: bytes) -> tuple[int, int]:
    first = frame[0]
    if 0x90 <= first <= 0x9F:
        return 1, first & 0x0F
    if first == 0xDC and len(frame) >= 3:
        return 3, int.from_bytes(frame[1:3], "big")
    if first == 0xDD and len(frame) >= 5:
        return 5, int.from_bytes(frame[1:5], "big")
    return 0, 1


def warm_up() -> None:
    """Compile the passes, or load them from the cache; takes seconds the first time."""
    for is_msgpack in (False, True):
        intake = Intake("iex", is_msgpack, 1, 1.0, 8, dict.fromkeys(CHANNELS, 1), trade_memory=2)
        intake.want(["A"])
        intake.take(b"\x91\xc0" if is_msgpack else b"[1,2]", 0)
        fields = {"T": "t", "S": "A", "i": 1, "x": "V", "p": 1.0, "s": 1, "t": "2026-01-05T14:30:00Z"}
        intake.put(read_message(fields), 0, "ws")
        said = {"bx": "V", "ax": "V", "bp": 1, "bs": 1, "ap": 1, "as": 1, "T": "q"}
        intake.put(read_message(fields | said), 0, "ws")
        kept = SeenTable(1.0, 1)  # by a name: what an address points to must outlive the call
        forget(kept.address, np.uint64(1), np.uint64(1))
        del kept
        intake.cut()


__all__ = ["STATUS", "Chunk", "Intake", "warm_up"]
