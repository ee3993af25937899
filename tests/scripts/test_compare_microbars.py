"""The comparison of second bars with DuckDB finds what differs, and nothing else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRADES = [
    ("A", "2026-01-05T15:00:00.9Z", 11.0, 5),
    ("A", "2026-01-05T15:00:00.000000001Z", 10.0, 1.5),
    ("A", "2026-01-05T15:00:00.9Z", 12.0, 5),
    ("B", "2026-01-05T15:00:03.5Z", 7.0, 0),
    ("A", "2026-01-05T15:00:00.5Z", 99.0, 9),  # late: its second ended 2.5 s before the newest trade
]
EXPECTED = [
    {"symbol": "A", "event_ts": "2026-01-05T15:00:01Z", "o": 10.0, "h": 12.0, "l": 10.0, "c": 12.0}
    | {"v": 11.5, "count": 3, "vwap": 130 / 11.5},
    {"symbol": "B", "event_ts": "2026-01-05T15:00:04Z", "o": 7.0, "h": 7.0, "l": 7.0, "c": 7.0}
    | {"v": 0.0, "count": 1, "vwap": None},
]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("compare_microbars", ROOT / "scripts" / "compare_microbars.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(script: ModuleType, folder: Path, bars: list[dict[str, Any]]) -> int:
    """Return the script's exit code for bars of the recording above."""
    recording, found = folder / "market.ndjson", folder / "bars.ndjson"
    lines = [{"T": "t", "S": symbol, "t": time, "p": price, "s": size} for symbol, time, price, size in TRADES]
    lines.insert(1, {"T": "q", "S": "A", "t": "2026-01-05T15:00:09Z"})
    recording.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found.write_text("".join(json.dumps({"window_size": "PT1S", **bar}) + "\n" for bar in bars))
    code: int = script.main([str(recording), str(found)])
    return code


def test_comparison_when_bars_are_right_then_equal(script: ModuleType, tmp_path: Path, capsys: Any) -> None:
    """Order in a second is time, then line; a late trade is in no bar; minute bars are not looked at."""
    minute = {"symbol": "A", "event_ts": "2026-01-05T15:01:00Z", "window_size": "PT1M"} | dict.fromkeys(
        script.FIELDS, 1
    )
    assert compare(script, tmp_path, [*EXPECTED, minute]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "trades in bars 4, late trades 1",
        "bars expected 2, bars found 2, differences 0",
        "equal",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"c": 11.0}, "A 2026-01-05T15:00:01Z: c: expected 12.0, found 11.0"),
        ({"v": 11.500000000000002}, "v: expected 11.5, found 11.500000000000002"),
        ({"vwap": 130 / 11.5 * (1 + 1e-11)}, "vwap: expected"),
        ({"vwap": None}, "vwap: expected"),
        ({"event_ts": "2026-01-05T15:00:02Z"}, "A 2026-01-05T15:00:01Z: missing"),
        ({"symbol": "C"}, "C 2026-01-05T15:00:01Z: too many"),
    ],
)
def test_comparison_when_a_bar_differs_then_it_is_named(
    script: ModuleType, tmp_path: Path, capsys: Any, change: dict[str, Any], words: str
) -> None:
    """Any value that is not the computed one is an error, to the last digit; vwap may differ by a rounding."""
    assert compare(script, tmp_path, [EXPECTED[0] | change, EXPECTED[1]]) == 1
    assert words in capsys.readouterr().out


def test_comparison_when_vwap_is_rounded_otherwise_then_equal(script: ModuleType, tmp_path: Path) -> None:
    """A vwap within 1e-12 of its size is the same."""
    assert compare(script, tmp_path, [EXPECTED[0] | {"vwap": 130 / 11.5 * (1 + 1e-13)}, EXPECTED[1]]) == 0


def test_comparison_when_an_input_is_missing_then_code_2(script: ModuleType, tmp_path: Path, capsys: Any) -> None:
    """An input that is not there is named."""
    assert script.main([str(tmp_path / "none"), str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"compare_microbars: file={tmp_path / 'none'}: does not exist\n"
