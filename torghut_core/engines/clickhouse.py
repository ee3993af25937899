"""ClickHouse by address: a server over HTTP, or `embedded:DIR` with chDB inside this process. One client code for both.

Calls block; asynchronous callers use `asyncio.to_thread`. A process may open one embedded folder, and a folder belongs
to one process at a time.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Protocol

from torghut_core.engines import embedded_folder
from torghut_core.errors import ConfigurationError, EngineUnavailableError, UpstreamError


class Trouble(StrEnum):
    """What ClickHouse said, as the reason other parts report."""

    DISK_FULL = "clickhouse_disk_full"
    READ_ONLY = "clickhouse_readonly"
    MEMORY = "clickhouse_memory_limit"
    REFUSED = "clickhouse_unreachable"
    AUTH = "clickhouse_auth"
    MISSING = "clickhouse_missing_table"
    PARTS = "clickhouse_too_many_parts"
    OTHER = "clickhouse_error"


# ClickHouse error codes: 243 NOT_ENOUGH_SPACE, 242 TABLE_IS_READ_ONLY, 241 MEMORY_LIMIT_EXCEEDED, 516/192/497 access,
# 60/81 UNKNOWN_TABLE/UNKNOWN_DATABASE, 164 READONLY, 252 TOO_MANY_PARTS. Source: ClickHouse src/Common/ErrorCodes.cpp.
_BY_CODE = {
    243: Trouble.DISK_FULL,
    242: Trouble.READ_ONLY,
    164: Trouble.READ_ONLY,
    241: Trouble.MEMORY,
    516: Trouble.AUTH,
    192: Trouble.AUTH,
    497: Trouble.AUTH,
    60: Trouble.MISSING,
    81: Trouble.MISSING,
    252: Trouble.PARTS,
}
_CODE = re.compile(r"[Cc]ode:?\s*(\d+)")
_NO_SPACE = re.compile(r"no space left on device", re.I)
_UNREACHABLE = re.compile(
    r"connection refused|timed? ?out|name or service|max retries|connection (aborted|reset)", re.I
)


class ClickHouseError(UpstreamError):
    """A statement failed; `trouble` is the reason, the message carries no raw upstream text."""

    def __init__(self, trouble: Trouble, doing: str) -> None:
        super().__init__(f"ClickHouse: {doing} failed: {trouble.value}")
        self.trouble = trouble


def classify(error: BaseException) -> Trouble:
    """Return the reason an error of the client or the server stands for."""
    text = str(error)
    if _NO_SPACE.search(text):
        return Trouble.DISK_FULL
    found = _CODE.search(text)
    if found and int(found[1]) in _BY_CODE:
        return _BY_CODE[int(found[1])]
    return Trouble.REFUSED if _UNREACHABLE.search(text) else Trouble.OTHER


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where ClickHouse is, and who asks. The password stays out of `repr`."""

    url: str
    username: str = "default"
    password: str | None = None
    connect_timeout: float = 5.0
    """Seconds."""
    answer_timeout: float = 60.0
    """Seconds a statement's answer may take; a call that waits for it cannot be cut short."""

    def __repr__(self) -> str:
        return f"Address(username={self.username!r}, embedded={self.url.startswith('embedded:')})"


_INSERT = {"optimize_on_insert": 0}
"""Dropping repeats inside one block is a third of an insert's work, and merges and FINAL drop them anyway."""


class Queries(Protocol):
    """What answers a ClickHouse query."""

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the rows as dictionaries."""


class ClickHouse:
    """A ClickHouse that answers one statement at a time; safe to share between threads."""

    def __init__(self, client: Any, *, is_embedded: bool, lock_file: IO[str] | None = None) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._lock_file = lock_file
        self.is_embedded = is_embedded

    def command(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Run a statement that returns nothing or one value."""
        with self._lock, _translated("a command"):
            return self._client.command(statement, parameters=dict(parameters or {}))

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the rows as dictionaries. DateTime64(…, 'UTC') comes as naive datetimes in UTC."""
        with self._lock, _translated("a query"):
            result = self._client.query(statement, parameters=dict(parameters or {}))
            return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    def insert(self, table: str, columns: Sequence[str], block: bytes) -> None:
        """Insert a block in ClickHouse's Native format (`clickhouse_native.encode_block`)."""
        with self._lock, _translated("an insert"):
            self._client.raw_insert(table, list(columns), block, fmt="Native", settings=_INSERT)

    def close(self) -> None:
        with self._lock:
            with suppress(Exception):
                self._client.close()
            if self._lock_file is not None:
                self._lock_file.close()


class _translated:
    """Turns whatever the client raises into ClickHouseError, keeping the cause chained and its text unshown."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and isinstance(error, Exception) and not isinstance(error, ClickHouseError):
            raise ClickHouseError(classify(error), self._doing) from error


def open_clickhouse(address: Address, *, variable: str = "TA_CLICKHOUSE_URL") -> ClickHouse:
    """Return a connected ClickHouse.

    Raises ConfigurationError for an address of another shape or a folder another process holds, ClickHouseError when a
    server does not answer.
    """
    import clickhouse_connect

    folder = embedded_folder(address.url, variable)
    if folder is not None:
        if "?" in str(folder):
            raise ConfigurationError(
                f"{variable}: an embedded folder's path must not hold '?': chDB reads options there"
            )
        lock_file = _lock(folder, variable)
        with _translated("opening the embedded engine"), _utc():
            try:
                client = clickhouse_connect.get_client(interface="chdb", path=str(folder / "data"))
            except ImportError as error:
                raise EngineUnavailableError(
                    f"{variable}: chDB is not installed", hint="pip install 'torghut[runtime,embedded]'"
                ) from error
        return ClickHouse(client, is_embedded=True, lock_file=lock_file)
    scheme, host, port = _server(address.url, variable)
    with _translated("connecting"):
        client = clickhouse_connect.get_client(
            interface=scheme,
            host=host,
            port=int(port) if port else (8443 if scheme == "https" else 8123),
            username=address.username,
            password=address.password or "",
            connect_timeout=address.connect_timeout,
            send_receive_timeout=address.answer_timeout,
            autogenerate_session_id=False,
        )
    return ClickHouse(client, is_embedded=False)


@contextmanager
def _utc() -> Iterator[None]:
    """Let the engine start in UTC: in a zone it does not know it refuses to load at all."""
    zone = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    try:
        yield
    finally:
        if zone is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = zone


def check_address(url: str, variable: str = "TA_CLICKHOUSE_URL") -> bool:
    """Return whether `url` is an embedded folder's, without opening it. Raises ConfigurationError for another shape."""
    if embedded_folder(url, variable) is not None:
        return True
    _server(url, variable)
    return False


def _server(url: str, variable: str) -> tuple[str, str, str | None]:
    match = re.fullmatch(r"(https?)://([^/:@\s]+)(?::(\d+))?/?", url)
    if match is None:
        raise ConfigurationError(f"{variable}: must be http(s)://HOST[:PORT] or embedded:DIR")
    return match[1], match[2], match[3]


def _lock(folder: Path, variable: str) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock_file = (folder / "lock").open("w")
    except OSError as error:
        raise ConfigurationError(f"{variable}: {folder} cannot be used as a folder: {error.strerror}") from error
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock_file.close()
        raise ConfigurationError(
            f"{variable}: {folder} is in use by another process; an embedded folder belongs to one process"
        ) from error
    return lock_file
