"""A recorded market: Alpaca messages from a file, one JSON object a line, plain, gzip or zstd by the file's name."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import msgspec

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.errors import InputError
from torghut_core.exchange.messages import Line, Message
from torghut_core.rfc3339 import parse_ns

_BLOCK_BYTES = 1 << 20
_PASSED_KINDS = frozenset("tqslcx")
_COMPUTED_KINDS = frozenset("bud")
"""Bars are made from the trades, so that they come at their time; those of the file are left out."""


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the file's lines without their ends. Raises InputError when it cannot be read or unpacked."""
    try:
        yield from _read_lines(path)
    except (OSError, EOFError) as error:
        raise InputError(
            f"file={path}: cannot be read: {error}", hint="give a readable .ndjson, .gz or .zst file"
        ) from error


def _read_lines(path: Path) -> Iterator[bytes]:
    if path.suffix == ".zst":
        import zstandard

        try:
            with path.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
                yield from _split_lines(stream)
        except zstandard.ZstdError as error:
            raise OSError(f"not zstd: {error}") from error
    elif path.suffix == ".gz":
        with gzip.open(path) as stream:
            yield from _split_lines(stream)
    else:
        with path.open("rb") as stream:
            yield from _split_lines(stream)


def _split_lines(stream: object) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(_BLOCK_BYTES):  # type: ignore[attr-defined]  # three libraries, one method
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        yield from lines
    if rest:
        yield rest


class ReplaySource:
    """Messages of a file in its order, each sent at its own time, or at that of a later one before it.

    `start_ns` leaves out what came earlier. Raises InputError, naming file and line, at a line that is no message.
    """

    def __init__(self, path: Path, start_ns: int | None = None) -> None:
        self._path = path
        self._lines = read_lines(path)
        self._number = 0
        self._at_ns = 0
        self._second_text = ""
        self._second_ns = 0
        self._decoder = msgspec.json.Decoder(Line)
        self.symbols: set[str] = set()
        self.left_out = 0
        """Lines not sent: bars of the file, and what lies before the start."""
        self._head = self._next()
        while start_ns is not None and self._head is not None and self._head.at_ns < start_ns:
            self.left_out += 1
            self._head = self._next()
        if self._head is None:
            rule = "holds no message" if start_ns is None else "holds no message at or after the start"
            raise InputError(f"file={path}: {rule}", hint="give a file of Alpaca trades and quotes, one JSON a line")
        self.first_ns = self._head.at_ns

    @property
    def next_at_ns(self) -> int | None:
        """When the next message is due; None at the end."""
        return None if self._head is None else self._head.at_ns

    def take(self, until_ns: int, limit: int) -> list[Message]:
        """Return up to `limit` messages due by `until_ns`."""
        taken: list[Message] = []
        head = self._head
        while head is not None and head.at_ns <= until_ns and len(taken) < limit:
            taken.append(head)
            head = self._next()
        self._head = head
        return taken

    def _next(self) -> Message | None:
        for raw in self._lines:
            self._number += 1
            text = raw.strip()
            if not text:
                continue
            try:
                line = self._decoder.decode(text)
                kind = line.T
                if kind in _PASSED_KINDS:
                    return self._message(line, text)
                if kind not in _COMPUTED_KINDS:
                    raise ValueError(f"T={kind[:20]!r}: must be one of t, q, b, u, d, s, l, c, x")
                self.left_out += 1
            except (msgspec.DecodeError, ValueError) as error:
                raise InputError(
                    f"file={self._path}: line {self._number}: not an Alpaca message: {error}",
                    hint="each line is one JSON object as the stock stream sends it",
                ) from error
        return None

    def _message(self, line: Line, raw: bytes) -> Message:
        if not line.S:
            raise ValueError("S: must name a symbol")
        event_ns = self._parse_time(line.t)
        self._at_ns = max(self._at_ns, event_ns)
        self.symbols.add(line.S)
        return Message(
            self._at_ns, event_ns, line.T, line.S, raw, line.p, line.s, line.bp, line.ap, line.bs, line.ask_size
        )

    def _parse_time(self, text: str) -> int:
        if text[:19] == self._second_text and text[19:20] == "." and text[-1:] == "Z" and text[20:-1].isdigit():
            return self._second_ns + int(text[20:-1].ljust(9, "0")[:9])
        ns = parse_ns(text)
        if text.endswith("Z"):
            self._second_text, self._second_ns = text[:19], ns // NANOS_PER_SECOND * NANOS_PER_SECOND
        return ns
