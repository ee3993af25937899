"""A generated market written to a file, as the stock stream would send it: trades, quotes, bars, corrections."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from torghut_core.errors import InputError
from torghut_core.exchange.messages import Message
from torghut_core.simulator.book import Book
from torghut_core.simulator.market import Source

_BATCH = 10_000


def market_messages(source: Source, until_ns: int) -> Iterator[Message]:
    """Yield what is sent before `until_ns`, bars at their time; the last minute's bar too when it ends there."""
    book = Book()
    while messages := source.take(until_ns - 1, _BATCH):
        for message in messages:
            yield from book.advance(message.at_ns)
            book.apply(message)
            yield message
    yield from book.advance(until_ns)


def write_dump(path: Path, source: Source, until_ns: int) -> int:
    """Write the messages sent before `until_ns`, one JSON a line, packed when the name ends in .gz; return how many.

    The same market gives the same bytes. Raises InputError when the file cannot be written.
    """
    try:
        with path.open("wb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                    return _write(packed, source, until_ns)
            return _write(file, source, until_ns)
    except OSError as error:
        raise InputError(f"dump={path}: cannot be written: {error}") from error


def _write(file: object, source: Source, until_ns: int) -> int:
    count = 0
    for message in market_messages(source, until_ns):
        file.write(message.raw + b"\n")  # type: ignore[attr-defined]  # a plain or a packed binary file
        count += 1
    return count
