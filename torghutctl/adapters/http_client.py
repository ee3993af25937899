"""One bounded HTTP GET with the standard library: a deadline for the whole exchange, a limit on the body, no redirects."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

MAX_BODY_BYTES = 32 * 1024 * 1024
_CHUNK = 65536


class Trouble(StrEnum):
    """Why an exchange ended without an answer."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"


class ExchangeError(Exception):
    """A request without a whole answer. `detail` is written here, never by the other side."""

    def __init__(self, trouble: Trouble, detail: str) -> None:
        super().__init__(detail)
        self.trouble = trouble
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole HTTP answer, whatever its status."""

    status: int
    body: bytes


class Deadline:
    """Seconds left of one exchange, on the machine's monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left. Raises ExchangeError when there are none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise ExchangeError(Trouble.TIMEOUT, f"no answer within {self.seconds:g} s")
        return left


def get(url: str, *, deadline_s: float, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the answer of `url` (http or https). Raises ExchangeError; a status of any kind is an answer."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ExchangeError(Trouble.UNREACHABLE, "the address is not an http(s) URL")
    deadline = Deadline(deadline_s)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname, parts.port, timeout=deadline.left())
    except ValueError as error:
        raise ExchangeError(Trouble.UNREACHABLE, "the address has no usable port") from error
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "application/json, text/plain, */*", **(headers or {})})
        response = connection.getresponse()
        body = bytearray()
        while True:
            if connection.sock is not None:
                connection.sock.settimeout(deadline.left())
            piece = response.read1(_CHUNK)
            if not piece:
                break
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise ExchangeError(Trouble.TOO_LARGE, f"the answer is over {MAX_BODY_BYTES} bytes")
            deadline.left()
        if response.length:
            raise ExchangeError(Trouble.TRUNCATED, "the answer ended early")
        return Answer(status=response.status, body=bytes(body))
    except TimeoutError as error:
        raise ExchangeError(Trouble.TIMEOUT, f"no answer within {deadline_s:g} s") from error
    except http.client.IncompleteRead as error:
        raise ExchangeError(Trouble.TRUNCATED, "the answer ended early") from error
    except http.client.HTTPException as error:
        raise ExchangeError(Trouble.TRUNCATED, "the answer is not HTTP") from error
    except OSError as error:
        raise ExchangeError(Trouble.UNREACHABLE, f"no connection ({type(error).__name__})") from error
    finally:
        connection.close()
