"""Standard output and standard error as they may be: closed, full, narrow in their encoding, or left by their reader.

What a command did decides its exit code; whether its report could be written is a matter of its own.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import textwrap
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from torghutctl.errors import UpstreamError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EROFS})


_COMMAND = "torghutctl "
_USUAL_COLUMNS = 80
_written: deque[bool] = deque(maxlen=1)
"""Whether the running command has written anything."""


class OutputError(UpstreamError):
    """Standard output took nothing more, and nothing was done that this would hide."""


def prepare() -> None:
    """Open what the caller closed, so that no file gets its number, and let no character fail for its encoding."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, "r", encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def begin() -> None:
    """Note that a command begins, which has written nothing yet."""
    _written.clear()


def has_written() -> bool:
    """Tell whether the command has written to standard output."""
    return bool(_written)


def is_terminal() -> bool:
    """Tell whether a person can be asked: standard input and standard error are a terminal."""
    return _is_tty(sys.stdin) and _is_tty(sys.stderr)


def is_unicode() -> bool:
    """Tell whether standard output takes every character; where it does not, a document escapes by its own rules."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return encoding.lower().replace("-", "").startswith("utf")


def emit(text: str) -> bool:
    """Write to standard output; tell whether its reader is still there. Raises OutputError where it takes nothing."""
    _written.append(True)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        give_up(sys.stdout)
        return False
    except (OSError, ValueError) as error:
        give_up(sys.stdout)
        raise OutputError(
            f"standard output cannot be written: {_words(error)}", hint="free what it is written to, or -o to a file"
        ) from error
    return True


def tell(line: str) -> None:
    """Write a line of talk to standard error, masked; where that takes nothing, it is left unsaid.

    A terminal has it wrapped between words, but for a command, which stays on one line so that it can be pasted.
    """
    from torghutctl.render.redaction import redact_text

    line = redact_text(line)
    try:
        sys.stderr.write((_wrapped(line, _columns_of(sys.stderr)) if _is_tty(sys.stderr) else line) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        give_up(sys.stderr)


def _columns_of(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS


def _wrapped(line: str, width: int) -> str:
    if "\n" in line or len(line) <= width:
        return line
    prose, found, rest = line.partition(_COMMAND)
    lines = textwrap.wrap(prose, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    if found:
        lines = [f"{prose}{found}{rest}"] if len(lines) < 2 else [*lines, f"  {found}{rest}"]
    return "\n".join(lines)


def telling_once() -> Callable[[str], None]:
    """Return how to tell what is said again with every look, a line only the first time."""
    told: set[str] = set()

    def say(line: str) -> None:
        if line not in told:
            told.add(line)
            tell(line)

    return say


def is_about_output(error: BaseException) -> bool:
    """Tell whether an error is a stream's that takes nothing more."""
    return isinstance(error, OSError) and error.errno in _FULL and error.filename is None


def give_up(stream: TextIO | Any) -> None:
    """Let the rest of a stream go nowhere, so that what it still holds is no failure when the process ends."""
    with suppress(OSError, ValueError, AttributeError):
        number = os.open(os.devnull, os.O_WRONLY)
        os.dup2(number, stream.fileno())
        os.close(number)


def _is_tty(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _words(error: BaseException) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
