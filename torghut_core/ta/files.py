"""A recording to bars and signals without services: the same engine, the same rows as from the stream.

A file is one partition: lateness is judged over its trades in file order, and its end closes every window. It is read
once to see which kinds of message it holds (a kind it does not hold is not waited for), then in chunks, so that memory
follows the chunk and the tolerance, not the length of the file; only trades that wait for quotes or bars further on
take 41 bytes each. Output appears under its names when it is complete.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import zstandard

from torghut_core.errors import InputError
from torghut_core.ta.decoding.lines import LineDecoder
from torghut_core.ta.engine.engine import Engine, EngineCounts, EngineSettings, RowBlock, SourceName
from torghut_core.ta.outputs.file_outputs import Output
from torghut_core.ta.outputs.rows import to_tables

Progress = Callable[[int, int], None]
"""Told how many bytes of the file were read, of how many."""

CHUNK_BYTES = 4 << 20
_PIECE_ROWS = 20_000
LONGEST_LINE = 1 << 20
"""A longer line is no message; it is dropped as it comes, so that it cannot fill the memory."""
_GZIP_READ, _ZSTD_READ = 64 << 10, 4 << 10  # small reads bound what a hostile archive can expand to at once
_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KINDS: dict[SourceName, re.Pattern[bytes]] = {
    "quotes": re.compile(rb'"(?:T|channel)"\s*:\s*"q(?:uotes)?"'),
    "bars": re.compile(rb'"(?:T|channel)"\s*:\s*"(?:b|u|bars|updatedBars)"'),
}


_ARGUMENT = "IN"
"""What `ta replay-file` calls its file."""


@dataclass(frozen=True)
class FileReport:
    """What a replay read and wrote."""

    counts: EngineCounts
    rows: dict[str, int] = field(default_factory=dict)
    """Rows by table."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def read_bytes(path: Path, progress: Progress | None = None, *, named: str = "FILE") -> Iterator[bytes]:
    """Yield the content of `path`, decompressed when its first bytes say gzip or zstd.

    `named` is what the command line calls the file. Raises InputError when it cannot be opened, is damaged, or ends before its compressed stream does.
    """
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            if not file.seekable():
                raise InputError(
                    f"{named}={path}: is read twice, which a pipe cannot be", hint="save it to a file first"
                )
            magic = file.read(4)
            file.seek(0)
            if magic.startswith(_GZIP_MAGIC):
                pieces = _decompressed(file, f"{named}={path}", _GZIP_READ, lambda: zlib.decompressobj(wbits=31))
            elif magic == _ZSTD_MAGIC:
                pieces = _decompressed(file, f"{named}={path}", _ZSTD_READ, zstandard.ZstdDecompressor().decompressobj)
            else:
                pieces = iter(lambda: file.read(CHUNK_BYTES), b"")
            for piece in pieces:
                yield piece
                if progress is not None:
                    progress(file.tell(), total)
    except OSError as error:
        raise InputError(f"{named}={path}: cannot be read: {error.strerror or type(error).__name__}") from error


def _decompressed(file: IO[bytes], what: str, size: int, begin: Callable[[], _Decompressor]) -> Iterator[bytes]:
    stream: _Decompressor | None = None
    for block in iter(lambda: file.read(size), b""):
        rest = block
        while rest:
            if stream is None:
                stream = begin()
            try:
                piece = stream.decompress(rest)
            except (zlib.error, zstandard.ZstdError) as error:
                raise InputError(f"{what}: is damaged near byte {file.tell()}: it does not decompress") from error
            rest = b""
            if stream.eof:  # another member may follow; zeros may pad the last one
                rest, stream = stream.unused_data.lstrip(b"\0"), None
            if piece:
                yield piece
    if stream is not None:
        raise InputError(f"{what}: is truncated: its compressed stream does not end", hint="copy the file again, whole")


def whole_lines(pieces: Iterator[bytes], rejected: Counter[str]) -> Iterator[bytes]:
    """Join pieces into chunks of about CHUNK_BYTES that end at a line's end; overlong lines are counted and dropped."""
    kept: list[bytes] = []
    size = 0
    is_skipping = False
    is_first = True
    for piece in pieces:
        rest = piece.removeprefix(_BYTE_ORDER_MARK) if is_first else piece
        is_first = False
        if is_skipping:
            _, newline, rest = rest.partition(b"\n")
            if not newline:
                continue
            is_skipping = False
        kept.append(rest)
        size += len(rest)
        if size < CHUNK_BYTES:
            continue
        joined = b"".join(kept)
        cut = joined.rfind(b"\n") + 1
        if cut:
            yield joined[:cut]
        tail = joined[cut:]
        if len(tail) > LONGEST_LINE:
            rejected["undecodable"] += 1
            is_skipping, tail = True, b""
        kept, size = [tail], len(tail)
    joined = b"".join(kept)
    if joined.strip():
        yield joined


def kinds_in(path: Path, *, named: str = "FILE") -> frozenset[SourceName]:
    """Return which of quotes and minute bars `path` holds anywhere; reading stops when both were seen."""
    missing = dict(_KINDS)
    tail = b""
    for piece in read_bytes(path, named=named):
        looked = tail + piece
        for kind in [kind for kind, pattern in missing.items() if pattern.search(looked)]:
            del missing[kind]
        if not missing:
            break
        tail = looked[-64:]
    return frozenset(_KINDS) - frozenset(missing)


def replay_file(
    path: Path,
    output: Output,
    *,
    settings: EngineSettings,
    now_ns: int,
    progress: Progress | None = None,
) -> FileReport:
    """Compute bars and signals of the recording at `path` into `output`; `now_ns` becomes the rows' `ingest_ts`.

    Bad records are counted by reason. Raises InputError when the file cannot be read to its end, or holds records of
    which none can be used; then nothing was published.
    """
    idle = frozenset(_KINDS) - kinds_in(path, named=_ARGUMENT)
    engine = Engine(settings)
    decoder = LineDecoder()
    ingest_ms = now_ns // 1_000_000

    def write(blocks: list[RowBlock]) -> None:
        nonlocal ingest_ms
        for block in blocks:
            for rows in to_tables(block, ingest_ms):
                output.write(list(rows.pieces(_PIECE_ROWS)))
            ingest_ms += 1  # no key twice with the same ingest time

    for chunk in whole_lines(read_bytes(path, progress, named=_ARGUMENT), engine.counts.rejected):
        engine.add(decoder.decode(chunk))
        write(engine.emit(idle))
    write(engine.finish())
    unusable = engine.counts.rejected.total()
    if unusable and not engine.counts.input_events:
        raise InputError(
            f"{_ARGUMENT}={path}: none of its {unusable} records can be used",
            hint="give Alpaca stock-stream messages or envelopes, one JSON object a line",
        )
    output.publish()
    return FileReport(engine.counts, output.rows)
