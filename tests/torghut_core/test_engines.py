"""ClickHouse and PostgreSQL by address, the embedded engines for real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from torghut_core.engines.clickhouse import Address, ClickHouseError, Trouble, classify, open_clickhouse
from torghut_core.engines.postgres import open_postgres
from torghut_core.engines.postgres_embedded import is_running, stop_forgotten
from torghut_core.errors import ConfigurationError, EngineUnavailableError

_IN_A_PROCESS = "import sys; sys.path.insert(0, {root!r}); from torghut_core.engines.clickhouse import *; {code}"


def _run(code: str) -> str:
    """chDB allows one folder per process, so each case gets its own."""
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_PROCESS.format(root=root, code=code)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() + done.stderr[-300:].strip()


@pytest.mark.engine
def test_clickhouse_when_embedded_then_rows_survive_the_process(tmp_path: Path) -> None:
    """What one process inserts, the next one reads."""
    opening = f"c = open_clickhouse(Address(url='embedded:{tmp_path}'));"
    create = "CREATE TABLE t (k String, at DateTime64(3), x Nullable(Float64)) ENGINE = MergeTree ORDER BY k"
    out = _run(
        f"import numpy as np; from torghut_core.engines import clickhouse_native as native; {opening}"
        f"c.command({create!r}); two = np.array([0, 1]);"
        "columns = {'k': native.strings(two, ['a', 'b']), 'at': native.times(two), 'x': native.nullable_floats(np.array([1.5, np.nan]))};"
        "c.insert('t', list(columns), native.encode_block(columns, 2));"
        "c.close()"
    )
    assert out == ""
    assert (
        _run(f"{opening} print(c.query('SELECT k, x FROM t WHERE k = {{k:String}}', {{'k': 'a'}})); c.close()")
        == "[{'k': 'a', 'x': 1.5}]"
    )


@pytest.mark.engine
def test_clickhouse_when_folder_is_held_then_second_process_is_refused_by_name(tmp_path: Path) -> None:
    """One process per folder: the second gets a sentence, not an engine error."""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import fcntl, pathlib; d = pathlib.Path({str(tmp_path)!r}); f = (d / 'lock').open('w');"
            "fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigurationError, match=r"TA_CLICKHOUSE_URL: .* is in use by another process"):
            open_clickhouse(Address(url=f"embedded:{tmp_path}"))
    finally:
        holder.communicate(b"\n")


@pytest.mark.engine
def test_clickhouse_when_the_machine_is_in_a_zone_nobody_knows_then_the_engine_runs_in_utc(tmp_path: Path) -> None:
    """A wrong TZ of a user's shell is no reason to say that chDB is not installed."""
    code = f"import os; os.environ['TZ'] = 'Mars/Olympus'; c = open_clickhouse(Address(url='embedded:{tmp_path}'));"
    assert _run(f"{code} print(c.command('SELECT timezone()'), os.environ['TZ']); c.close()") == "UTC Mars/Olympus"


def test_clickhouse_when_the_folder_cannot_be_used_then_variable_and_folder_are_named(tmp_path: Path) -> None:
    """A file in the way, and a character that chDB would cut the path at."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"TA_CLICKHOUSE_URL: .*file/x cannot be used as a folder"):
        open_clickhouse(Address(url=f"embedded:{tmp_path}/file/x"))
    with pytest.raises(ConfigurationError, match=r"TA_CLICKHOUSE_URL: .*must not hold '\?'"):
        open_clickhouse(Address(url=f"embedded:{tmp_path}/why?"))
    assert not (tmp_path / "why?").exists()


def test_clickhouse_when_nobody_listens_then_unreachable() -> None:
    """A refused connection is named, without the client's text."""
    with pytest.raises(ClickHouseError) as caught:
        open_clickhouse(Address(url="http://127.0.0.1:9", password="hunter22"))
    assert caught.value.trouble is Trouble.REFUSED
    assert "hunter22" not in str(caught.value)


def test_clickhouse_when_it_accepts_and_never_answers_then_unreachable_when_its_time_is_up() -> None:
    """A hung server holds a call no longer than it is given."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        url = f"http://127.0.0.1:{hung.getsockname()[1]}"
        with pytest.raises(ClickHouseError) as caught:
            open_clickhouse(Address(url=url, answer_timeout=0.2))
    assert caught.value.trouble is Trouble.REFUSED


@pytest.mark.parametrize("url", ["", "ftp://x", "http://u:p@host:1", "embedded:"])
def test_clickhouse_when_address_has_another_shape_then_variable_is_named(url: str) -> None:
    """No password belongs into an address."""
    with pytest.raises(ConfigurationError, match="TA_CLICKHOUSE_URL"):
        open_clickhouse(Address(url=url))


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)", Trouble.DISK_FULL),
        ("Code: 74. DB::Exception: write: No space left on device", Trouble.DISK_FULL),
        ("Code: 242. DB::Exception: Table is in readonly mode (TABLE_IS_READ_ONLY)", Trouble.READ_ONLY),
        ("Code: 241. DB::Exception: Memory limit (total) exceeded", Trouble.MEMORY),
        ("HTTPConnectionPool: Max retries exceeded: Connection refused", Trouble.REFUSED),
        ("Code: 516. DB::Exception: Authentication failed", Trouble.AUTH),
        ("Code: 252. DB::Exception: Too many parts (3001). Merges are processing slower", Trouble.PARTS),
        (
            "Code: 252. DB::Exception: Too many partitions for single INSERT block (more than 100). (TOO_MANY_PARTS)",
            Trouble.PARTITIONS,
        ),
        ("Code: 202. DB::Exception: Too many simultaneous queries", Trouble.QUERIES),
        ("Code: 999. Coordination::Exception: Session expired (KEEPER_EXCEPTION)", Trouble.KEEPER),
        ("something else", Trouble.OTHER),
    ],
)
def test_clickhouse_when_it_complains_then_reason_is_recognised(text: str, trouble: Trouble) -> None:
    """Each complaint an operator acts on has its own reason."""
    assert classify(RuntimeError(text)) is trouble


def test_clickhouse_when_it_has_a_trouble_then_it_says_what_to_do() -> None:
    """Every reason has a sentence of its own, and the error carries it."""
    hints = {trouble: ClickHouseError(trouble, "an insert").hint for trouble in Trouble}
    assert len(set(hints.values())) == len(Trouble)
    assert all(hints.values())


def test_clickhouse_when_no_server_answers_then_the_driver_says_nothing_beside_the_error() -> None:
    """A command's standard error holds its own sentence alone."""
    code = (
        "address = Address(url='http://127.0.0.1:9')\n"
        "try: open_clickhouse(address)\n"
        "except ClickHouseError as error: print('refused')"
    )
    assert _run(code) == "refused"


@pytest.mark.engine
def test_postgres_when_embedded_then_starts_stops_and_keeps_rows(engine_folder: Path) -> None:
    """A real server, twice on one folder."""
    for expected in ([], [(1,)]):
        postgres = open_postgres(f"embedded:{engine_folder}/pg")
        with postgres.connect(autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (x int)")
            assert connection.execute("SELECT x FROM t").fetchall() == expected
            connection.execute("INSERT INTO t VALUES (1)")
        postgres.close()


@pytest.mark.engine
def test_postgres_when_a_holder_was_killed_then_closing_still_stops_the_server(engine_folder: Path) -> None:
    """A crashed process leaves its server running; the next one takes it over and stops it at its own end."""
    opening = (
        f"import sys, os; sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r});"
        "from torghut_core.engines.postgres import open_postgres;"
        f"open_postgres('embedded:{engine_folder}/pg'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", opening], check=False).returncode == -9
    postmaster = engine_folder / "pg" / "data" / "postmaster.pid"
    assert postmaster.exists()
    open_postgres(f"embedded:{engine_folder}/pg").close()
    assert not postmaster.exists()
    assert subprocess.run([sys.executable, "-c", opening], check=False).returncode == -9
    assert is_running(engine_folder / "pg")
    stop_forgotten(engine_folder / "pg")
    assert not is_running(engine_folder / "pg")
    stop_forgotten(engine_folder / "pg")


@pytest.mark.engine
@pytest.mark.parametrize("name", ["a b'c $(exit 1) \"d;e#ü", "x" * 110])
def test_postgres_when_the_path_is_odd_or_longer_than_a_socket_may_be_then_it_works(
    engine_folder: Path, name: str
) -> None:
    """Paths come from people: spaces, quotes, a home folder deep down."""
    postgres = open_postgres(f"embedded:{engine_folder}/{name}")
    with postgres.connect() as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
    postgres.close()
    assert not (engine_folder / name / "data" / "postmaster.pid").exists()


@pytest.mark.engine
@pytest.mark.parametrize("name", ["pg", "a folder"])
def test_postgres_when_its_server_was_killed_then_it_is_revived_at_the_same_address(
    engine_folder: Path, name: str
) -> None:
    """With what was committed; one that runs, and one that was closed, are left alone."""
    postgres = open_postgres(f"embedded:{engine_folder}/{name}")
    assert postgres.revive() is False
    with postgres.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS x")
    os.kill(int((engine_folder / name / "data" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
    while is_running(engine_folder / name):
        time.sleep(0.05)
    with pytest.raises(EngineUnavailableError):
        postgres.connect()
    assert postgres.revive() is True
    with postgres.connect() as connection:
        assert connection.execute("SELECT x FROM t").fetchone() == (7,)
    postgres.close()
    assert postgres.revive() is False
    assert not is_running(engine_folder / name)


@pytest.mark.engine
def test_postgres_when_two_users_share_a_folder_then_the_last_one_stops_it(engine_folder: Path) -> None:
    """Trading and visuals as processes of their own, over one folder."""
    first, second = (open_postgres(f"embedded:{engine_folder}/pg") for _ in range(2))
    first.close()
    with second.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    second.close()
    second.close()
    assert not (engine_folder / "pg" / "data" / "postmaster.pid").exists()


@pytest.mark.engine
def test_postgres_when_a_pid_file_names_a_foreign_process_then_it_starts_and_leaves_that_alone(
    engine_folder: Path,
) -> None:
    """After a container's restart the same process id is somebody else's."""
    open_postgres(f"embedded:{engine_folder}/pg").close()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as foreign:
        data = engine_folder / "pg" / "data"
        lines = [str(foreign.pid), str(data), "1700000000", "5432", str(data), "", "1 1", "ready"]
        (data / "postmaster.pid").write_text("\n".join(lines) + "\n")
        (data / ".s.PGSQL.5432.lock").write_text("\n".join(lines) + "\n")
        postgres = open_postgres(f"embedded:{engine_folder}/pg")
        with postgres.connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        postgres.close()
        assert foreign.poll() is None
        foreign.communicate(b"\n")


@pytest.mark.engine
def test_postgres_when_initialising_was_cut_short_then_the_next_start_begins_anew(engine_folder: Path) -> None:
    """Half a data folder is never taken for a whole one."""
    half = engine_folder / "pg" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    postgres = open_postgres(f"embedded:{engine_folder}/pg")
    with postgres.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    postgres.close()
    assert not half.exists()


@pytest.mark.engine
def test_postgres_when_the_folder_cannot_be_used_then_variable_and_folder_are_named(engine_folder: Path) -> None:
    """A file in the way, somebody else's files: one sentence, no trace."""
    (engine_folder / "file").write_text("")
    with pytest.raises(EngineUnavailableError, match=r"DB_DSN: PostgreSQL in .*file/pg does not start"):
        open_postgres(f"embedded:{engine_folder}/file/pg")
    other = engine_folder / "pg" / "data" / "somebody-else's"
    other.mkdir(parents=True)
    with pytest.raises(EngineUnavailableError, match=r"DB_DSN: PostgreSQL in .*pg does not start: Directory not empty"):
        open_postgres(f"embedded:{engine_folder}/pg")
    assert other.exists()


def test_postgres_when_nobody_listens_then_unavailable_without_the_password() -> None:
    """An outage is retryable, and the DSN stays out of the message."""
    with pytest.raises(EngineUnavailableError) as caught:
        open_postgres("postgresql+psycopg://u:hunter22@127.0.0.1:9/x").connect()
    assert "hunter22" not in str(caught.value)
