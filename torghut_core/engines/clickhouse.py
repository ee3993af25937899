"""ClickHouse by address: a server over HTTP, or `embedded:DIR` with chDB inside this process. One client code for both.

Calls block; asynchronous callers use `asyncio.to_thread`. A process may open one embedded folder, and a folder belongs
to one process at a time.
"""

from __future__ import annotations

import fcntl
import logging
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
    COLUMNS = "clickhouse_other_columns"
    PARTS = "clickhouse_too_many_parts"
    PARTITIONS = "clickhouse_too_many_days"
    QUERIES = "clickhouse_busy"
    TIMEOUT = "clickhouse_timeout"
    QUOTA = "clickhouse_quota"
    KEEPER = "clickhouse_keeper"
    QUORUM = "clickhouse_replicas"
    CLUSTER = "clickhouse_unknown_cluster"
    CORRUPT = "clickhouse_corrupted_data"
    SYNTAX = "clickhouse_other_version"
    OTHER = "clickhouse_error"

    @property
    def hint(self) -> str:
        """What an operator does next."""
        return _HINTS[self]


_HINTS = {
    Trouble.DISK_FULL: "free space on the server, or make the volume larger; runbook clickhouse-recovery",
    Trouble.READ_ONLY: "runbook clickhouse-recovery; a replica is restored with `torghutctl restore-replica`",
    Trouble.MEMORY: "give the server more memory, or fewer rows at a time (TA_CLICKHOUSE_BATCH_SIZE)",
    Trouble.REFUSED: "is the address right, the server up, and its port reachable from here?",
    Trouble.AUTH: "user, password and grants of the account; runbook rotate-credentials",
    Trouble.MISSING: "the TA makes database and tables at its start; is this the right server?",
    Trouble.COLUMNS: "the table has other columns than this version's schema: migrate it",
    Trouble.PARTS: "merges lag behind inserts: wait, look at system.merges and the disk, write fewer, larger batches",
    Trouble.PARTITIONS: "one insert spans more days than the server allows (max_partitions_per_insert_block)",
    Trouble.QUERIES: "the server runs as many queries as it allows: wait, or raise max_concurrent_queries",
    Trouble.TIMEOUT: "the server is up and too slow: look at system.processes and at its disk",
    Trouble.QUOTA: "the account's quota is used up: system.quotas_usage",
    Trouble.KEEPER: "Keeper does not answer the server: runbook clickhouse-recovery",
    Trouble.QUORUM: "the server does not reach another replica, or too few answer: runbook clickhouse-recovery",
    Trouble.CLUSTER: "TA_CLICKHOUSE_CLUSTER must name a cluster of system.clusters",
    Trouble.CORRUPT: "a part cannot be read; a replica fetches it again, a single server needs its backup",
    Trouble.SYNTAX: "the server is older than what this program asks of it",
    Trouble.OTHER: "the server's own log has the whole sentence",
}

# Source: ClickHouse src/Common/ErrorCodes.cpp, by their numbers there.
_CODES = {
    Trouble.DISK_FULL: (243,),
    Trouble.READ_ONLY: (242, 164),
    Trouble.MEMORY: (241, 173),
    Trouble.AUTH: (516, 192, 193, 194, 195, 497),
    Trouble.MISSING: (60, 81, 218),
    Trouble.COLUMNS: (10, 16, 47, 53, 70, 117, 122, 349),
    Trouble.PARTS: (252,),
    Trouble.QUERIES: (202,),
    Trouble.TIMEOUT: (159, 160),
    Trouble.QUOTA: (201,),
    Trouble.KEEPER: (225, 244, 319, 999),
    Trouble.QUORUM: (285, 286, 254, 198, 209, 210, 279),
    Trouble.CLUSTER: (170, 701),
    Trouble.CORRUPT: (40, 246, 271),
    Trouble.SYNTAX: (46, 62, 115),
}
_BY_CODE = {code: trouble for trouble, codes in _CODES.items() for code in codes}
_TOO_MANY_DAYS = re.compile(r"too many partitions", re.I)
_CODE = re.compile(r"[Cc]ode:?\s*(\d+)")
_NO_SPACE = re.compile(r"no space left on device", re.I)
_UNREACHABLE = re.compile(
    r"connection refused|timed? ?out|name or service|max retries|connection (aborted|reset)", re.I
)


class ClickHouseError(UpstreamError):
    """A statement failed; `trouble` is the reason, the message carries no raw upstream text."""

    def __init__(self, trouble: Trouble, doing: str) -> None:
        super().__init__(f"ClickHouse: {doing} failed: {trouble.value}", hint=trouble.hint)
        self.trouble = trouble


def classify(error: BaseException) -> Trouble:
    """Return the reason an error of the client or the server stands for."""
    text = str(error)
    if _NO_SPACE.search(text):
        return Trouble.DISK_FULL
    if _TOO_MANY_DAYS.search(text):
        return Trouble.PARTITIONS  # it has the code of too many parts
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


_SILENT = logging.NullHandler()


def open_clickhouse(address: Address, *, variable: str = "TA_CLICKHOUSE_URL") -> ClickHouse:
    """Return a connected ClickHouse.

    Raises ConfigurationError for an address of another shape or a folder another process holds, ClickHouseError when a
    server does not answer.
    """
    import clickhouse_connect

    # Where nobody has set up logs its own words would go to standard error, before ours.
    logging.getLogger("clickhouse_connect").addHandler(_SILENT)
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
