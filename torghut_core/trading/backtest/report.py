"""The report's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torghut_core.errors import InputError
from torghut_core.trading.backtest.figures import Figures
from torghut_core.trading.backtest.recording import Recording
from torghut_core.trading.backtest.run import Result


def write_report(folder: Path, told: dict[str, Any], result: Result, figures: Figures, recording: Recording) -> None:
    """Write summary.json and decisions.ndjson into `folder`. Raises InputError when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(told, indent=2) + "\n")
        lines = [json.dumps(outcome.fields(), sort_keys=True, default=str) for outcome in result.outcomes]
        (folder / "decisions.ndjson").write_text("".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise InputError(f"--report {folder}: cannot be written: {error.strerror}") from error
