"""Replays: every line arrives, in order, at any speed; bars come from the trades."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import zstandard

from torghut_core.clock import FileClock
from torghut_core.errors import ConfigurationError, InputError
from torghut_core.rfc3339 import parse_ns
from torghut_core.simulator import __main__ as simulator_main
from torghut_core.simulator import process
from torghut_core.simulator.__main__ import main
from torghut_core.simulator.dump import market_messages
from torghut_core.simulator.options import parse_options
from torghut_core.simulator.replay import ReplaySource, read_lines

pytestmark = pytest.mark.slow  # each starts a simulator, and talks to it

MINUTE_NS = 60_000_000_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return a dump of three minutes with late trades in it."""
    path = tmp_path / "market.ndjson.gz"
    assert main(["--dump", str(path), "--minutes", "3", "--late-trades", "200"]) == 0
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    """Return a recording's messages."""
    return [json.loads(line) for line in read_lines(path)]


async def test_replay_when_a_dump_is_played_then_it_arrives_complete_and_in_order(
    start_simulator: Any, log_in: Any, recording: Path
) -> None:
    """What a client gets is, message for message, what was recorded, bars and corrections included."""
    simulator = start_simulator("--market", "replay", "--file", str(recording), "--speed", "600", "--hold")
    channels = {name: ["*"] for name in ("trades", "quotes", "bars", "updatedBars", "dailyBars")}
    expected = lines(recording)
    async with log_in(simulator, **channels) as client, asyncio.timeout(30):
        received: list[dict[str, Any]] = []
        while len(received) < len(expected):
            received += json.loads(await client.recv())
        while not simulator.state()["finished"]:
            pass
    assert received == expected
    assert simulator.state()["messages_sent"] == len(expected)


def test_replay_when_bars_are_made_again_then_they_are_those_of_the_recording(recording: Path) -> None:
    """The file's bars are left out and the same ones are made from its trades, at the same places."""
    source = ReplaySource(recording)
    played = [json.loads(m.raw) for m in market_messages(source, source.first_ns + 3 * MINUTE_NS)]
    assert played == lines(recording)
    assert source.left_out == sum(message["T"] in "bud" for message in played)
    assert any(message["T"] == "u" for message in played)


def test_replay_when_packed_otherwise_then_it_reads_the_same(tmp_path: Path, recording: Path) -> None:
    """Plain, gzip and zstd files with the same lines are the same recording."""
    data = gzip.decompress(recording.read_bytes())
    plain, packed = tmp_path / "a.ndjson", tmp_path / "a.ndjson.zst"
    plain.write_bytes(data)
    packed.write_bytes(zstandard.ZstdCompressor().compress(data))
    expected = list(read_lines(recording))
    assert list(read_lines(plain)) == expected
    assert list(read_lines(packed)) == expected


def test_replay_when_a_start_is_given_then_earlier_lines_are_left_out(recording: Path) -> None:
    """A start skips ahead; what was skipped is counted."""
    start_ns = ReplaySource(recording).first_ns + MINUTE_NS
    source = ReplaySource(recording, start_ns)
    assert source.first_ns >= start_ns
    assert source.left_out > 0


def test_replay_when_lines_go_back_in_time_then_they_keep_their_place(tmp_path: Path) -> None:
    """A line older than the one before is sent with it, with its own time unchanged."""
    path = tmp_path / "back.ndjson"
    times = ("2026-01-05T15:00:01.000000005Z", "2026-01-05T15:00:00.5Z", "2026-01-05T15:00:02+00:00")
    path.write_text("\n".join(json.dumps({"T": "t", "S": "A", "p": 1.5, "s": 1, "t": time}) for time in times))
    messages = ReplaySource(path).take(2**63, 10)
    assert [message.event_ns for message in messages] == [parse_ns(time) for time in times]
    assert [message.at_ns for message in messages] == [parse_ns(times[0]), parse_ns(times[0]), parse_ns(times[2])]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no message"),
        (b'{"T":"t","S":"A","t":"2026-01-05T15:00:00Z"}\n{"T":', "line 2: not an Alpaca message"),
        (b'{"T":"z","S":"A","t":"2026-01-05T15:00:00Z"}', "line 1: not an Alpaca message: T='z'"),
        (b'{"T":"t","t":"2026-01-05T15:00:00Z"}', "S: must name a symbol"),
        (b'{"T":"t","S":"A","t":"noon"}', "'noon' is not an RFC 3339 timestamp"),
    ],
)
def test_replay_when_a_line_is_no_message_then_file_and_line_are_named(
    tmp_path: Path, content: bytes, words: str
) -> None:
    """A recording that cannot be read says where and why."""
    path = tmp_path / "bad.ndjson"
    path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        ReplaySource(path).take(2**63, 10)
    assert str(path) in str(refusal.value)
    assert words in str(refusal.value)


@pytest.mark.parametrize("name", ["torn.ndjson.gz", "torn.ndjson.zst"])
def test_replay_when_the_file_is_not_packed_as_named_then_it_is_refused(tmp_path: Path, name: str) -> None:
    """A file that is not what its name says cannot be unpacked."""
    path = tmp_path / name
    path.write_bytes(b"plain text, nothing packed")
    with pytest.raises(InputError, match="cannot be read"):
        ReplaySource(path)


def test_simulator_when_a_later_line_is_bad_then_it_ends_with_one_clear_line(tmp_path: Path) -> None:
    """The process says which line it was and ends with code 2."""
    path = tmp_path / "bad.ndjson"
    good = [{"T": "t", "S": "A", "i": n, "p": 1.5, "s": 1, "t": f"2026-01-05T15:00:{n:02d}Z"} for n in range(3)]
    path.write_text("\n".join(json.dumps(line) for line in good) + "\nrubbish\n")
    simulator = process.start(tmp_path, ["--market", "replay", "--file", str(path)])
    simulator.call("/simulator/speed", {"speed": 1000})
    assert simulator.process.wait(10) == 2
    said = (tmp_path / "simulator.log").read_text().splitlines()[1:]
    assert len(said) == 1
    assert f"simulator: file={path}: line 4: not an Alpaca message" in said[0]


def test_speed_when_changed_then_the_shared_clock_follows_and_never_turns_back(
    start_simulator: Any, tmp_path: Path
) -> None:
    """Another speed begins where the market is, in the shared file too."""
    path = tmp_path / "clock.json"
    simulator = start_simulator("--clock-file", str(path), "--start", "2026-01-05T15:00:00Z", "--speed", "500")
    before = simulator.state()["time_ns"]
    after = simulator.call("/simulator/speed", {"speed": 0.001})["time_ns"]
    shared = FileClock(path)
    assert before <= after <= shared.now_ns() < after + 10**9
    assert (shared.speed, simulator.state()["speed"]) == (0.001, 0.001)
    with pytest.raises(InputError, match="speed=-1: must be above 0"):
        simulator.call("/simulator/speed", {"speed": -1})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--speed", "0"], "--speed 0: must be above 0"),
        (["--speed", "fast"], "argument --speed: invalid float value: 'fast'"),
        (["--market", "replay"], "--market replay: needs --file"),
        (["--market", "replay", "--file", "/nowhere"], "--file /nowhere: must be an existing file"),
        (["--market", "dreamt"], "argument --market: invalid choice: 'dreamt'"),
        (["--port", "70000"], "--port 70000: must be 0 to 65535"),
        (["--symbols", "a b"], "--symbols 'a b': must list symbols"),
        (["--start", "25:00"], "--start '25:00': must be HH:MM in New York"),
        (["--cash", "much"], "--cash much: must be an amount"),
    ],
)
def test_options_when_one_is_wrong_then_it_is_named(arguments: list[str], words: str) -> None:
    """Each wrong option is refused with its value and rule."""
    with pytest.raises(ConfigurationError) as refusal:
        parse_options(arguments)
    assert words in str(refusal.value)


def test_simulator_when_its_port_is_taken_then_one_line_and_code_2(start_simulator: Any, capsys: Any) -> None:
    """A second simulator on the same port says so."""
    port = start_simulator().http.rpartition(":")[2]
    assert main(["--port", port]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"simulator: --port {port}: cannot listen on 127.0.0.1:{port}")
    assert said.count("\n") == 1


def test_simulator_when_told_to_end_while_it_announces_itself_then_it_ends_cleanly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads the announcement may send SIGTERM at once: the handler is there already."""

    def announce_and_be_told(*_: object) -> None:
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(simulator_main, "write_announcement", announce_and_be_told)
    assert main(["--announce", str(tmp_path / "simulator.json"), "--calendar", "always-open"]) == 0


async def test_market_when_a_client_reads_slowly_then_it_lags_and_nothing_is_lost(
    start_simulator: Any, log_in: Any, tmp_path: Path
) -> None:
    """A client that does not read holds the market back behind its clock; once it reads, it gets every message."""
    path = tmp_path / "long.ndjson"
    count, padding = 60_000, "x" * 200
    path.write_text(
        "".join(
            f'{{"T":"q","S":"A","bp":1,"bs":1,"ap":2,"as":1,"n":{n},"pad":"{padding}","t":"2026-01-05T15:00:{n // 1000:02d}Z"}}\n'
            for n in range(count)
        )
    )
    simulator = start_simulator("--market", "replay", "--file", str(path), "--speed", "1000", "--hold")
    async with log_in(simulator, quotes=["A"]) as client, asyncio.timeout(30):
        while simulator.state()["lag_ms"] < 100_000:
            pass
        assert simulator.state()["messages_sent"] < count
        received: list[int] = []
        while len(received) < count:
            received += [message["n"] for message in json.loads(await client.recv())]
        assert received == list(range(count))


def test_simulator_when_its_parent_ends_then_so_does_it(tmp_path: Path) -> None:
    """A simulator started for another process does not outlive it."""
    program = (
        "import sys, pathlib; from torghut_core.simulator import process; "
        "print(process.start(pathlib.Path(sys.argv[1])).http)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    address = urlsplit(ended.stdout.strip())
    with pytest.raises(ConnectionRefusedError):
        while True:
            socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5).close()
