"""llm evaluate and the evidence that promote-check asks for, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from torghutctl.cli import app
from torghutctl.render.schemas import schema_of

AT = ("--at", "2026-01-05T16:00:00Z")


def _run(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(app, ["llm", *arguments], env=environment)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """One purchase let pass and one vetoed a minute later, before a rise and a fall of one percent."""
    reviews, signals = tmp_path / "reviews.ndjson", tmp_path / "signals.ndjson"
    common = {"symbol": "AAPL", "side": "buy", "timeframe": "1Sec", "price": 100, "model": "m", "prompt_version": "v1"}
    rows = [
        {**common, "event_ts": "2026-01-05T15:00:00Z", "verdict": "approve"},
        {**common, "event_ts": "2026-01-05T15:01:00Z", "verdict": "veto"},
    ]
    reviews.write_text("\n".join(map(json.dumps, rows)))
    closes = {"2026-01-05T15:15:00Z": 101, "2026-01-05T15:16:00Z": 99}
    signals.write_text(
        "\n".join(
            json.dumps({"symbol": "AAPL", "window_size": "PT1S", "event_ts": ts, "close": close})
            for ts, close in closes.items()
        )
    )
    return reviews, signals


def test_evaluate_when_files_are_given_then_a_table_and_a_document_by_its_schema(files: tuple[Path, Path]) -> None:
    """What was let pass gained one percent, what was vetoed lost one."""
    options = ("evaluate", "--reviews", str(files[0]), "--signals", str(files[1]), *AT)
    done = _run(*options, "-o", "json")
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema_of("torghut.llm-evaluation/v1"))
    assert (done.exit_code, document["judged"], document["advantageBps"]) == (0, 2, 200)
    assert "let pass 100.00, vetoed -100.00, advantage 200.00" in _run(*options).stdout
    other = json.loads(_run(*options[:-1], "2026-01-09T16:00:00Z", "-o", "json").stdout)
    assert (other["reviews"], other["advantageBps"]) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        ((), {}, "DB_DSN"),
        (("--at", "noon"), {}, "--at"),
        (("--reviews", "/nowhere"), {}, "/nowhere: cannot be read"),
        (("--reviews", "/dev/null"), {}, "TA_CLICKHOUSE_URL"),
    ],
)
def test_evaluate_when_asked_wrongly_then_exit_2(
    arguments: tuple[str, ...], environment: dict[str, str], named: str
) -> None:
    """What is missing or wrong is named."""
    done = _run("evaluate", *arguments, **environment)
    assert (done.exit_code, named in done.stderr) == (2, True)


@pytest.mark.slow
def test_promote_check_when_reviews_are_recorded_then_their_evaluation_is_asked_for(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    """From stage1 on: none is a reason, two judged reviews are too few, and a file that is none is said."""
    evaluation = tmp_path / "evaluation.json"
    options = ("evaluate", "--reviews", str(files[0]), "--signals", str(files[1]), *AT)
    evaluation.write_text(_run(*options, "-o", "json").stdout)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    environment = {"DB_DSN": "postgresql://u@127.0.0.1:9/x", "LLM_ROLLOUT_STAGE": "stage1"}

    def reasons(*more: str) -> list[str]:
        done = _run("promote-check", *AT, "-o", "json", *more, **environment)
        assert done.exit_code == 6
        return [reason for reason in json.loads(done.stdout)["reasons"] if reason.startswith("llm_")]

    assert reasons() == ["llm_evaluation_report_missing"]
    assert reasons("--evaluation", str(evaluation)) == ["llm_evaluation_count_below_minimum"]
    assert reasons("--evaluation", str(broken)) == ["llm_evaluation_report_invalid"]
