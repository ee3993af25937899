"""`replay-file`: what it reads, writes, counts and refuses; nothing half-written is ever left."""

from __future__ import annotations

import gzip
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard
from pyarrow import parquet
from typer.testing import CliRunner

from tests.fakes.ta_inputs import START, Record, bar, quote, run_of, trade
from torghut_core.engines.clickhouse import Address, ClickHouse, open_clickhouse
from torghut_core.ta import files
from torghut_core.ta.engine.engine import EngineSettings
from torghut_core.ta.outputs.rows import COMMON_COLUMNS, MICROBAR_COLUMNS, MICROBARS, SIGNAL_COLUMNS, SIGNALS, TableRows
from torghutctl.cli import app

RECORDS = [
    record
    for second in range(50)
    for record in (quote("A", second + 0.1, 9, 10), trade("A", second + 0.5, 10 + second % 3, 5))
] + [bar("A", 0, 10)]
OUTPUTS = ["ta_microbars.ndjson", "ta_signals.ndjson"]


def _bytes(records: list[Record] = RECORDS) -> bytes:
    return b"".join(record.value + b"\n" for record in records)


def _messages() -> bytes:
    lines = []
    for record in RECORDS:
        payload = json.loads(record.value)["payload"]
        kind = {"trades": "t", "quotes": "q", "bars": "b"}[record.source]
        lines.append(json.dumps({"T": kind, **payload}))
    return "\n".join(lines).encode()


def _replay(tmp_path: Path, content: bytes, *options: str) -> Any:
    source = tmp_path / "in"
    source.write_bytes(content)
    return CliRunner().invoke(app, ["ta", "replay-file", str(source), str(tmp_path / "out"), *options])


def _rows(tmp_path: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "out" / name).read_text().splitlines()]


def _without_ingest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "ingest_ts"} for row in rows]


def test_file_when_it_is_replayed_then_rows_have_the_table_columns_and_times_are_rfc3339(tmp_path: Path) -> None:
    """Keys are the ClickHouse columns in their order, values those of the engine."""
    result = _replay(tmp_path, _bytes())
    assert (result.exit_code, result.stdout) == (0, "")
    bars, signals = (_rows(tmp_path, name) for name in OUTPUTS)
    assert list(bars[0]) == COMMON_COLUMNS + MICROBAR_COLUMNS
    assert list(signals[0]) == COMMON_COLUMNS + SIGNAL_COLUMNS
    first = next(row for row in bars if row["window_size"] == "PT1S")
    assert (first["event_ts"], first["window_start"], first["seq"]) == (
        "2026-06-02T14:00:01Z",
        "2026-06-02T14:00:00Z",
        START + 1,
    )
    expected = run_of(RECORDS)
    assert {(row["window_size"], row["seq"] - START): row["close"] for row in signals} == {
        (key[1], key[3]): row["close"] for key, row in expected.rows.items() if key[0] == "signal"
    }


COMPRESSIONS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip in members": lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]) + b"\0" * 7,
    "zstd": zstandard.compress,
    "zstd in frames": lambda data: zstandard.compress(data[:1000]) + zstandard.compress(data[1000:]),
}


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize("chunk", [1000, files.CHUNK_BYTES])
def test_file_when_it_is_compressed_or_cut_otherwise_then_rows_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, chunk: int
) -> None:
    """What the bytes say decides, not the name; messages and envelopes, in chunks of any size, give one result."""
    _replay(tmp_path, _bytes())
    expected = {row["event_ts"] + row["window_size"]: row for row in _without_ingest(_rows(tmp_path, OUTPUTS[1]))}
    monkeypatch.setattr(files, "CHUNK_BYTES", chunk)
    for content in (_bytes(), _messages()):
        assert _replay(tmp_path, COMPRESSIONS[name](content)).exit_code == 0
        found = {row["event_ts"] + row["window_size"]: row for row in _without_ingest(_rows(tmp_path, OUTPUTS[1]))}
        assert found == expected


def test_file_when_kinds_stand_one_after_the_other_then_rows_are_the_same(tmp_path: Path) -> None:
    """Trades first, quotes after them: a window waits for the quotes that the file will bring."""
    _replay(tmp_path, _bytes())
    expected = _without_ingest(_rows(tmp_path, OUTPUTS[1]))
    _replay(tmp_path, _bytes(sorted(RECORDS, key=lambda record: record.source, reverse=True)))
    found = _without_ingest(_rows(tmp_path, OUTPUTS[1]))
    by_key = lambda row: (row["window_size"], row["event_ts"])  # noqa: E731
    assert sorted(found, key=by_key) == sorted(expected, key=by_key)


class _Lengths:
    """An output that keeps how many rows each write brought."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.written: list[int] = []

    def write(self, tables: list[TableRows]) -> None:
        for rows in tables:
            self.rows[rows.table] = self.rows.get(rows.table, 0) + len(rows)
            self.written.append(len(rows))

    def publish(self) -> None:
        pass


@pytest.mark.slow
def test_file_when_its_trades_wait_for_quotes_that_never_come_then_rows_leave_in_pieces(tmp_path: Path) -> None:
    """However many windows the end of the file closes at once, no write is larger for it."""
    count = 50_000
    source = tmp_path / "in"
    source.write_bytes(_bytes([quote("A", 0, 9, 10), *(trade("A", second, 10) for second in range(count))]))
    output = _Lengths()
    files.replay_file(source, output, settings=EngineSettings(), now_ns=(START + 2 * count) * 10**9)
    assert (output.rows, max(output.written)) == ({MICROBARS: count, SIGNALS: count}, 20_000)


def test_parquet_when_asked_for_then_same_rows_with_real_times(tmp_path: Path) -> None:
    """--format parquet writes the same columns, times as timestamps in UTC."""
    _replay(tmp_path, _bytes())
    assert _replay(tmp_path, _bytes(), "--format", "parquet").exit_code == 0
    for name in OUTPUTS:
        expected = _rows(tmp_path, name)
        table = parquet.read_table(tmp_path / "out" / name.replace("ndjson", "parquet")).to_pylist()
        assert [list(row) for row in table[:1]] == [list(expected[0])]
        assert [row["event_ts"].strftime("%Y-%m-%dT%H:%M:%SZ") for row in table] == [r["event_ts"] for r in expected]
        times = {"event_ts", "ingest_ts", "window_start", "window_end"}
        assert [{k: v for k, v in row.items() if k not in times} for row in table] == [
            {k: v for k, v in row.items() if k not in times} for row in expected
        ]


BROKEN = {
    "truncated gzip": gzip.compress(_bytes())[:-20],
    "truncated zstd": zstandard.compress(_bytes())[:-20],
    "damaged gzip": gzip.compress(_bytes())[:40] + b"\xff" * 40 + gzip.compress(_bytes())[80:],
    "damaged zstd": zstandard.compress(_bytes())[:12] + b"\xff" * 9,
}


@pytest.mark.parametrize("name", BROKEN)
def test_archive_when_it_is_broken_then_one_line_exit_2_and_nothing_left(tmp_path: Path, name: str) -> None:
    """An archive that does not end or decompress is refused whole; earlier results stay as they were."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / OUTPUTS[0]).write_text("earlier\n")
    result = _replay(tmp_path, BROKEN[name])
    assert result.exit_code == 2
    assert len([line for line in result.stderr.splitlines() if line.startswith("error: IN=")]) == 1
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {OUTPUTS[0]: "earlier\n"}


def test_file_when_it_is_missing_or_a_folder_then_exit_2(tmp_path: Path) -> None:
    """The message names the argument and the file."""
    for source in (tmp_path / "nothing", tmp_path):
        result = CliRunner().invoke(app, ["ta", "replay-file", str(source), str(tmp_path / "out")])
        assert (result.exit_code, f"IN={source}: cannot be read" in result.stderr) == (2, True)
    target = tmp_path / "file"
    target.write_bytes(_bytes())
    result = CliRunner().invoke(app, ["ta", "replay-file", str(target), str(target)])
    assert (result.exit_code, f"DIR={target}: cannot be written" in result.stderr) == (2, True)


def test_target_when_one_of_its_names_is_a_folder_then_exit_2_and_neither_is_replaced(tmp_path: Path) -> None:
    """Both files are replaced, or none."""
    (tmp_path / "out" / OUTPUTS[1]).mkdir(parents=True)
    result = _replay(tmp_path, _bytes())
    assert (result.exit_code, f"{OUTPUTS[1]} in it is a folder" in result.stderr) == (2, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [OUTPUTS[1]]


def test_input_when_it_is_a_pipe_then_exit_2(tmp_path: Path) -> None:
    """A recording is read twice, and the message says so."""
    reading, writing = os.pipe()
    try:
        result = CliRunner().invoke(app, ["ta", "replay-file", f"/dev/fd/{reading}", str(tmp_path / "out")])
    finally:
        os.close(reading)
        os.close(writing)
    assert (result.exit_code, "is read twice, which a pipe cannot be" in result.stderr) == (2, True)


@contextmanager
def _files_end_at(size: int) -> Iterator[None]:
    """Let the system refuse to write more than `size` bytes into a file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("options", [["DIR"], ["DIR", "--format", "parquet"], ["--clickhouse", "http://127.0.0.1:9"]])
@pytest.mark.parametrize("size", [0, 3000])
def test_disk_when_it_is_full_then_one_line_exit_2_and_nothing_left(
    tmp_path: Path, options: list[str], size: int
) -> None:
    """The message names the place and the reason, whichever write was refused."""
    source, folder = tmp_path / "in", tmp_path / "out"
    source.write_bytes(_bytes([trade("A", number, 10 + number % 7) for number in range(300)]))
    given = [str(folder) if option == "DIR" else option for option in options]
    with _files_end_at(size):
        result = CliRunner().invoke(app, ["ta", "replay-file", str(source), *given])
    assert (result.exit_code, result.stderr.count("error: "), "cannot be written: " in result.stderr) == (2, 1, True)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_input_when_some_is_bad_then_counted_on_stderr_and_the_rest_is_used(tmp_path: Path) -> None:
    """Reasons and late trades are told; a line of two megabytes is dropped as it comes."""
    lines = [_bytes(), b"{\n", b"x" * (2 * files.LONGEST_LINE), b"\n", trade("A", 1, 10).value, b"\n"]
    result = _replay(tmp_path, b"".join(lines))
    assert result.exit_code == 0
    assert "1 late trades" in result.stderr
    assert "2 records not used: undecodable" in result.stderr
    assert len([row for row in _rows(tmp_path, OUTPUTS[0]) if row["window_size"] == "PT1S"]) == 50


def test_input_when_it_begins_with_a_byte_order_mark_then_the_first_record_counts(tmp_path: Path) -> None:
    """As editors of another system write it, compressed or not."""
    _replay(tmp_path, _bytes())
    expected = _without_ingest(_rows(tmp_path, OUTPUTS[0]))
    for content in (b"\xef\xbb\xbf" + _bytes(), gzip.compress(b"\xef\xbb\xbf" + _bytes())):
        result = _replay(tmp_path, content)
        assert (result.exit_code, "not used" in result.stderr) == (0, False)
        assert _without_ingest(_rows(tmp_path, OUTPUTS[0])) == expected


def test_options_when_given_then_they_reach_the_engine(tmp_path: Path) -> None:
    """Tolerance, late policy and quote age are options."""
    late = _bytes([trade("A", 0.5, 10, 1), trade("A", 9, 11, 1), trade("A", 0.7, 20, 1), quote("A", 0.2, 9, 10)])

    def first(*options: str) -> dict[str, Any]:
        assert _replay(tmp_path, late, *options).exit_code == 0
        rows = [row for row in _rows(tmp_path, OUTPUTS[0]) if row["seq"] == START + 1]
        signals = [row for row in _rows(tmp_path, OUTPUTS[1]) if row["seq"] == START + 1]
        return rows[-1] | {"bid": signals[0]["imbalance_bid_px"]}

    assert first()["c"] == 10
    assert first("--late-trades", "revise")["c"] == 20
    assert first("--max-out-of-order-ms", "10000")["c"] == 20
    assert first("--quote-stale-after-ms", "799")["bid"] is None
    assert first("--quote-stale-after-ms", "800")["bid"] == 9
    assert _replay(tmp_path, late, "--late-trades", "keep").exit_code == 2


def test_file_when_it_is_empty_then_empty_results(tmp_path: Path) -> None:
    """Nothing in, nothing out, no error."""
    assert _replay(tmp_path, b"").exit_code == 0
    assert [(tmp_path / "out" / name).read_bytes() for name in OUTPUTS] == [b"", b""]


def test_file_when_nothing_in_it_can_be_used_then_exit_2_and_nothing_left(tmp_path: Path) -> None:
    """A file of something else is an error, not a recording without trades."""
    result = _replay(tmp_path, b"root:x:0:0\ndaemon:x:1:1\n")
    assert (result.exit_code, "none of its 2 records can be used" in result.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.engine
def test_file_when_it_goes_into_clickhouse_then_the_rows_are_those_of_the_files(tmp_path: Path) -> None:
    """The same rows in the tables, made where they are missing; the second time they replace the first."""
    source = tmp_path / "in"
    source.write_bytes(_bytes())
    assert _replay(tmp_path, _bytes()).exit_code == 0
    arguments = ["ta", "replay-file", str(source), "--clickhouse", f"embedded:{tmp_path / 'store'}"]
    for _ in range(2):
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, "bars and" in result.stderr) == (0, True), result.output
    store = open_clickhouse(Address(url=f"embedded:{tmp_path / 'store'}"))
    try:
        for name in OUTPUTS:
            table = name.removesuffix(".ndjson")
            found = store.query(f"SELECT * FROM torghut.{table} FINAL ORDER BY window_size, symbol, event_ts")
            expected = sorted(_rows(tmp_path, name), key=lambda row: (row["window_size"], row["symbol"], row["seq"]))
            plain = [
                key for key in expected[0] if not key.endswith("_ts") and key not in {"window_start", "window_end"}
            ]
            assert [[row[key] for key in plain] for row in found] == [[row[key] for key in plain] for row in expected]
    finally:
        store.close()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, "DIR, --clickhouse: give one of the two"),
        (["out", "--clickhouse", "embedded:x"], 2, "DIR, --clickhouse: give one of the two"),
        (["--clickhouse", "embedded:x", "--format", "parquet"], 2, "--format=parquet: is of files"),
        (["--clickhouse", "ftp://store"], 2, "--clickhouse: must be http(s)://HOST[:PORT] or embedded:DIR"),
        (["--clickhouse", "http://127.0.0.1:1"], 0, "would be written"),
        (["--clickhouse", "http://127.0.0.1:1", "--confirm", "yes", "--reason", "r"], 6, "must be ACTUATE_TORGHUT"),
        (["--clickhouse", "http://127.0.0.1:1", "--confirm", "ACTUATE_TORGHUT"], 6, "--reason: must say why"),
        (["--clickhouse", "http://127.0.0.1:1", "--confirm", "ACTUATE_TORGHUT", "--reason", "r"], 9, "connecting"),
    ],
)
def test_clickhouse_target_when_it_is_not_right_or_not_confirmed_then_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, words: str
) -> None:
    """A server's rows are replaced only on a reason and the exact phrase; without them the command says what it would do."""
    monkeypatch.chdir(tmp_path)
    Path("in").write_bytes(_bytes())
    result = CliRunner().invoke(app, ["ta", "replay-file", "in", *options, "--audit-log", "audit.jsonl"])
    assert (result.exit_code, words in result.stderr) == (code, True), result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


@pytest.mark.engine
def test_server_target_when_confirmed_then_the_audit_log_has_a_line_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who, why, which file, which server; a secret in the reason is masked. (An embedded store stands for the server.)"""
    embedded = Address(url=f"embedded:{tmp_path / 'store'}")

    def as_server(address: Address, *, variable: str) -> ClickHouse:
        assert (address.url, variable) == ("http://127.0.0.1:1", "--clickhouse")
        store = open_clickhouse(embedded)
        store.is_embedded = False
        return store

    monkeypatch.setattr("torghut_core.engines.clickhouse.open_clickhouse", as_server)
    monkeypatch.chdir(tmp_path)
    Path("in").write_bytes(_bytes())
    line = "ta replay-file in --clickhouse http://127.0.0.1:1 --audit-log audit.jsonl --confirm ACTUATE_TORGHUT"
    result = CliRunner().invoke(app, [*line.split(), "--reason", "lost a day, password=hunter2"])
    assert (result.exit_code, "signals written" in result.stderr) == (0, True), result.output
    lines = [json.loads(line) for line in Path("audit.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["intent", "result"]
    assert all("lost a day" in line["reason"] and "hunter2" not in line["reason"] for line in lines)
    assert CliRunner().invoke(app, ["audit", "verify", "--audit-log", "audit.jsonl"]).exit_code == 0


def test_replay_file_when_it_cannot_be_read_then_no_folder_is_left_that_was_not_there(tmp_path: Path) -> None:
    """Folders on the way included; one that was there stays."""
    (tmp_path / "mine").mkdir()
    for folder in ("new/deeper", "mine"):
        result = CliRunner().invoke(app, ["ta", "replay-file", str(tmp_path / "none"), str(tmp_path / folder)])
        assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
