"""Many backtests over one recording, on all cores: a grid of parameters, or windows chosen on one stretch and judged on the next."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torghutctl.render.output import Format, View, columns, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torghut_core.engines.postgres import Postgres
    from torghut_core.trading.backtest.recording import Recording
    from torghut_core.trading.backtest.run import Plan
    from torghut_core.trading.backtest.sweep import Choice


@dataclass(frozen=True, kw_only=True)
class _Task:
    number: int
    dsn: str
    plan: Plan


_recording: Recording | None = None
"""What a forked worker finds: the columns are shared with it, not sent."""


def run_sweep(
    recording: Recording,
    plan: Plan,
    postgres: Postgres,
    *,
    sweep: Sequence[str],
    walk_forward: int | None,
    jobs: int | None,
    output: Format | None,
) -> None:
    """Try every combination, and show them from the best to the worst. Raises InputError."""
    from torghut_core.trading.backtest.sweep import choices, folds, read_axis

    found = choices([read_axis(text) for text in sweep])
    with _workers(recording, jobs) as pool:
        if walk_forward is None:
            rows = _tried(pool, plan, postgres, found)
            report = _grid_report(rows)
            write(report, output, table=_grid_table)
            return
        windows = []
        for fold in folds(recording, walk_forward, from_ns=plan.from_ns, to_ns=plan.to_ns):
            inside = replace(plan, from_ns=fold.chosen_from, to_ns=fold.judged_from)
            best, chosen = _tried(pool, inside, postgres, found)[0]
            outside = replace(plan, from_ns=fold.judged_from, to_ns=fold.judged_to)
            [(_, judged)] = _tried(pool, outside, postgres, [best])
            windows.append({"parameters": dict(best), "chosenOn": chosen, "judgedOn": judged})
    write(_walk_report(windows), output, table=_walk_table)


@contextmanager
def _workers(recording: Recording, jobs: int | None) -> Iterator[ProcessPoolExecutor]:
    global _recording  # noqa: PLW0603  a fork finds it there; to send it would copy every column
    _recording = recording
    count = jobs or os.cpu_count() or 1
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("fork")) as pool:
        yield pool


def _tried(
    pool: ProcessPoolExecutor, plan: Plan, postgres: Postgres, choices: Sequence[Choice]
) -> list[tuple[Choice, dict[str, Any]]]:
    """Return each choice and its summary, the best return first; of equals the first of the grid."""
    from torghut_core.trading.backtest.sweep import with_choice

    tasks = [
        _Task(number=at, dsn=postgres.dsn, plan=replace(plan, entries=with_choice(plan.entries, choice, plan.library)))
        for at, choice in enumerate(choices)
    ]
    told = list(pool.map(_run_task, tasks))
    return sorted(zip(choices, told, strict=True), key=lambda item: -item[1]["return"])


def _run_task(task: _Task) -> dict[str, Any]:
    import psycopg
    from psycopg.conninfo import make_conninfo

    from torghut_core.engines.postgres import Postgres
    from torghut_core.trading.backtest.figures import figures_of, summary
    from torghut_core.trading.backtest.run import run_backtest

    assert _recording is not None
    name = f"backtest_{os.getpid()}_{task.number}"
    with psycopg.connect(make_conninfo(task.dsn, dbname="postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE torghut")
        try:
            server = Postgres(make_conninfo(task.dsn, dbname=name))
            result = run_backtest(_recording, task.plan, server)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    return summary(result, figures_of(result, _recording, chosen_on_same_data=True))


_SHOWN = ("return", "sharpe", "maxDrawdown", "trades", "hitRate", "turnover", "fees")


def _grid_report(rows: Sequence[tuple[Choice, Mapping[str, Any]]]) -> dict[str, Any]:
    warnings = ["the best of many on the same data is partly luck: judge it with --walk-forward, or on other data"]
    if rows and rows[0][1]["trades"] < 30:
        warnings.append(f"the best rests on {rows[0][1]['trades']} closed trades, fewer than 30")
    return {
        "schemaVersion": "torghut.backtest-sweep/v1",
        "combinations": [
            {"parameters": dict(choice), **{name: told[name] for name in _SHOWN}} for choice, told in rows
        ],
        "warnings": warnings,
    }


def _walk_report(windows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total = 1.0
    for window in windows:
        total *= 1 + window["judgedOn"]["return"]
    trades = sum(window["judgedOn"]["trades"] for window in windows)
    return {
        "schemaVersion": "torghut.backtest-walk-forward/v1",
        "windows": [
            {
                "parameters": window["parameters"],
                **{
                    name: {
                        "from": window[name]["from"],
                        "to": window[name]["to"],
                        **{each: window[name][each] for each in _SHOWN},
                    }
                    for name in ("chosenOn", "judgedOn")
                },
            }
            for window in windows
        ],
        "return": round(total - 1, 6),
        "trades": trades,
        "warnings": [f"closed trades ({trades}) are fewer than 30: the result may be chance"] if trades < 30 else [],
    }


def _said(parameters: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in parameters.items())


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.3f} %"


def _cells(told: Mapping[str, Any]) -> tuple[str, ...]:
    sharpe = told["sharpe"]["value"]
    return (
        _percent(told["return"]),
        "-" if sharpe is None else f"{sharpe}",
        _percent(told["maxDrawdown"]["share"]),
        str(told["trades"]),
        _percent(told["hitRate"]),
        f"{told['fees']:,.2f}",
    )


def _grid_table(report: Mapping[str, Any]) -> View:
    head = ("parameters", "return", "Sharpe", "drawdown", "trades", "hit rate", "fees")
    rows = [(_said(each["parameters"]), *_cells(each)) for each in report["combinations"]]
    return [columns([head, *rows]), *(f"warning: {text}" for text in report["warnings"])]


def _walk_table(report: Mapping[str, Any]) -> View:
    head = (
        "judged from",
        "to",
        "parameters",
        "chosen on",
        "return",
        "Sharpe",
        "drawdown",
        "trades",
        "hit rate",
        "fees",
    )
    rows = [
        (
            window["judgedOn"]["from"],
            window["judgedOn"]["to"],
            _said(window["parameters"]),
            _percent(window["chosenOn"]["return"]),
            *_cells(window["judgedOn"]),
        )
        for window in report["windows"]
    ]
    total = f"all judged windows: {_percent(report['return'])}, {report['trades']} closed trades"
    return [columns([head, *rows]), total, *(f"warning: {text}" for text in report["warnings"])]
