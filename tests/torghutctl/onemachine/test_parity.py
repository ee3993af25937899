"""A backtest of a recorded stretch and the running system over it, at two speeds: the same intents, the same outcomes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.replayed_system import outcomes_of_backtest, outcomes_of_replay
from torghut_core.rfc3339 import format_ns, parse_ns

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "aig-bac-2013-10-07.alpaca.ndjson.gz"
SYMBOLS = "AIG,BAC"
pytestmark = [pytest.mark.engine, pytest.mark.skipif(not RECORDED.exists(), reason="needs ../shared/data")]


def _stretch(path: Path, first: str, last: str) -> Path:
    with gzip.open(RECORDED) as whole, gzip.open(path, "wb", compresslevel=1) as part:
        part.writelines(_between(whole, first.encode(), last.encode()))
    return path


def _between(lines: Any, first: bytes, last: bytes) -> Iterator[bytes]:
    for line in lines:
        at = line.find(b'"t":"')
        if at >= 0 and first <= line[at + 5 : at + 21] < last:
            yield line


def _until(outcomes: list[dict[str, Any]], end_ns: int) -> list[dict[str, Any]]:
    return [outcome for outcome in outcomes if outcome["signalTs"] <= format_ns(end_ns)]


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("speed", [10.0, 60.0])
async def test_replay_when_run_live_at_any_speed_then_it_is_the_backtest(engine_folder: Path, speed: float) -> None:
    """Ten minutes from before the open: each order, its fills, prices and times, and each reason to refuse."""
    recording = _stretch(engine_folder / "stretch.ndjson.gz", "2013-10-07T13:28", "2013-10-07T13:36")
    end_ns = parse_ns("2013-10-07T13:35:30Z")
    expected = _until(await _in_thread(recording), end_ns)
    live = await outcomes_of_replay(recording, engine_folder / "live", speed=speed, symbols=SYMBOLS, end_ns=end_ns)
    assert len(expected) > 5
    assert expected == _until(live, end_ns)


@pytest.mark.soak
@pytest.mark.parametrize("speed", [30.0, 60.0])
async def test_day_when_replayed_at_two_speeds_then_it_is_the_backtest(engine_folder: Path, speed: float) -> None:
    """The whole recorded day, its opening and closing auctions included."""
    end_ns = parse_ns("2013-10-07T20:05:00Z")
    recording = _stretch(engine_folder / "day.ndjson.gz", "2013-10-07T13:20", "2013-10-07T20:06")
    expected = _until(await _in_thread(recording), end_ns)
    live = await outcomes_of_replay(recording, engine_folder / "live", speed=speed, symbols=SYMBOLS, end_ns=end_ns)
    print(f"{len(expected)} decisions, {sum(bool(each['fills']) for each in expected)} orders filled")
    assert expected == _until(live, end_ns)


async def _in_thread(recording: Path) -> list[dict[str, Any]]:
    import asyncio

    return await asyncio.to_thread(outcomes_of_backtest, recording)
