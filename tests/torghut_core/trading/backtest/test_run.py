"""A backtest as a whole: the loop's own judgement over rows, by the exchange's rules, the same every time."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.fakes.signal_recordings import OPEN_NS, SECOND_NS, bars, crossing, recording, series
from tests.torghut_core.trading.backtest.conftest import Runner, plan
from torghut_core.errors import InputError
from torghut_core.trading import proposing
from torghut_core.trading.backtest import steps as steps_module
from torghut_core.trading.backtest.figures import figures_of, summary
from torghut_core.trading.backtest.recording import Recording, Window
from torghut_core.trading.backtest.run import Result

pytestmark = pytest.mark.engine


def _told(result: Result) -> list[dict[str, Any]]:
    return [outcome.fields() for outcome in result.outcomes]


def _walk(seed: int, count: int = 400, symbols: str = "AB") -> Recording:
    """Return rows of a price that wanders, with gaps, stale quotes, small sizes, and crossings now and then."""
    found = []
    for symbol in symbols:
        random, price, macd = Random(f"{seed}{symbol}"), 100.0, -1.0
        rows = []
        for _ in range(count):
            price = max(1.0, round(price + random.choice([-0.3, -0.1, 0, 0.1, 0.3]), 2))
            macd = -macd if random.random() < 0.06 else macd
            row = {"close": price, "macd": macd, "rsi14": random.choice([20.0, 50.0, 80.0])}
            row |= {"imbalance_bid_px": price - 0.01, "imbalance_ask_px": price + 0.01}
            row |= {"imbalance_bid_sz": random.choice([0, 3, 500]), "imbalance_ask_sz": random.choice([0, 3, 500])}
            if random.random() < 0.05:
                row |= dict.fromkeys(["imbalance_bid_px", "imbalance_ask_px"], float("nan"))
            rows.append(row)
        made = series(symbol, rows)
        keep = np.array([random.random() > 0.2 for _ in range(count)])
        if seed % 2:
            keep[100:200] = False
        found.append(replace(made, event_ns=made.event_ns[keep], columns={k: v[keep] for k, v in made.columns.items()}))
    return recording(*found)


def test_run_when_a_signal_comes_then_the_order_meets_the_quote_that_stands_a_latency_later(run: Runner) -> None:
    """A row is acted on half a second after its bar's end: what was quoted by then fills, not what comes after."""
    rows = crossing(20, up_at=[5], down_at=[12])
    rows[6] |= {"imbalance_ask_px": 100.05}
    for latency, price in (("500", "100.01"), ("1500", "100.05")):
        buy, sell = _told(run(recording(series(rows=rows)), TRADING_SIMULATED_LATENCY_MS=latency))
        assert [(fill["price"], fill["qty"]) for fill in buy["fills"]] == [(price, "19")]
        assert (sell["leg"], sell["status"], [fill["price"] for fill in sell["fills"]]) == ("exit", "filled", ["99.99"])


def test_run_when_twice_over_the_same_rows_then_every_byte_is_the_same(run: Runner) -> None:
    """Ids are drawn anew by the database, and stand nowhere in what is reported."""
    found = _walk(1)
    first, second = run(found), run(found)
    assert json.dumps(_told(first), default=str) == json.dumps(_told(second), default=str)
    assert summary(first, figures_of(first, found)) == summary(second, figures_of(second, found))
    assert any(outcome.fills for outcome in first.outcomes)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("stops", [False, True])
def test_steps_when_instants_are_passed_over_then_the_outcomes_are_those_of_going_through_all(
    run: Runner, monkeypatch: pytest.MonkeyPatch, seed: int, stops: bool
) -> None:
    """Live goes through every instant and mark; what a backtest leaves out must change nothing, with stops and without."""
    found, entries = _walk(seed), plan().entries
    if stops:
        entries = tuple(
            replace(each, stop_loss_pct=Decimal("0.004"), take_profit_pct=Decimal("0.006")) for each in entries
        )
    quick = run(found, entries=entries)

    def every(self: Any, done_ns: int, **_: Any) -> int | None:
        return _all(self, done_ns)

    plain_after = steps_module.Steps.after

    def _all(self: Any, done_ns: int) -> int | None:
        return plain_after(self, done_ns, has_business=True, is_holding=True)

    monkeypatch.setattr(steps_module.Steps, "after", every)
    whole = run(found, entries=entries)
    assert _told(quick) == _told(whole)
    assert quick.steps < whole.steps
    assert any(outcome.fills for outcome in quick.outcomes)
    assert not stops or any(outcome.cause in ("stop_loss", "take_profit") for outcome in quick.outcomes)


def test_run_when_the_quote_is_small_then_the_order_fills_in_parts(run: Runner) -> None:
    """Sizes bind: the rest waits for the next quote, and each part is on record with its time."""
    rows = crossing(12, up_at=[3], imbalance_ask_sz=8.0)
    [bought] = _told(run(recording(series(rows=rows))))
    assert [fill["qty"] for fill in bought["fills"]] == ["8", "8", "3"]
    assert [fill["at"][17:] for fill in bought["fills"]] == ["03.500Z", "04Z", "05Z"]


def test_fills_when_of_the_next_bar_or_the_worst_then_the_price_is_its_open_or_its_high(run: Runner) -> None:
    """The first bar that begins after the order: its open, or for a buy its high; without bars there is nothing to fill at."""
    rows = crossing(20, up_at=[5])
    made = bars(rows=[{"o": 100.0 + at, "h": 100.5 + at, "l": 99.5 + at, "c": 100.2 + at} for at in range(20)])
    found = recording(series(rows=rows), with_bars=[made])
    for fills, price in (("next-bar", "107"), ("worst", "107.5")):
        [outcome] = _told(run(found, fills=fills))
        assert [fill["price"] for fill in outcome["fills"]] == [price]
    with pytest.raises(InputError, match="no bars"):
        run(recording(series(rows=rows)), fills="worst")


def test_run_when_bounded_by_time_then_rows_before_are_history_and_rows_after_are_not_seen(run: Runner) -> None:
    """The crossing at the first row traded on needs the row before it, which is only looked at."""
    rows = crossing(30, up_at=[10, 20], down_at=[15])
    found = run(recording(series(rows=rows)), from_ns=OPEN_NS + 10 * SECOND_NS, to_ns=OPEN_NS + 18 * SECOND_NS)
    assert [(each.leg, (each.signal_ns - OPEN_NS) // SECOND_NS) for each in found.outcomes] == [
        ("entry", 10),
        ("exit", 15),
    ]


def test_run_when_a_loss_limit_is_reached_then_entries_rest(run: Runner) -> None:
    """Equity is measured at each mark of the clock, as live; a latch stays for the run."""
    rows = crossing(60, up_at=[3, 50], down_at=[40])
    for row in rows[10:]:
        row |= {"close": 50.0, "imbalance_bid_px": 49.99, "imbalance_ask_px": 50.01}
    bought, sold, refused = _told(run(recording(series(rows=rows)), TRADING_MAX_DAILY_LOSS="100"))
    assert (bought["status"], sold["status"]) == ("filled", "filled")
    assert refused["reasons"] == ["loss_limit_latched"]


def test_summary_when_few_trades_then_it_says_so_and_the_figures_are_the_fills(run: Runner) -> None:
    """One round trip: bought at the ask, sold at the bid, fees by the settings, and a warning."""
    rows = crossing(20, up_at=[5], down_at=[12])
    found = recording(series(rows=rows))
    result = run(found, TRADING_COMMISSION_PER_SHARE="0.01", TRADING_FEE_SEC_RATE="0", TRADING_FEE_TAF_PER_SHARE="0")
    told = summary(result, figures_of(result, found))
    assert (told["trades"], told["hitRate"], told["fees"]) == (1, 0.0, 0.38)
    assert told["profit"] == pytest.approx(19 * (99.99 - 100.01) - 0.38)
    assert told["turnover"] == pytest.approx(19 * (99.99 + 100.01))
    assert told["orders"] == {"filled": 2}
    assert told["warnings"] == ["closed trades (1) are fewer than 30: the result may be chance"]


def test_run_when_an_order_is_open_then_a_rule_is_asked_on_its_own_rows_alone(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that looks at no position is asked where its mask says that it may want something, and nowhere else."""
    asked: list[int] = []
    answer = proposing.ask

    def heard(rule: Any, view: Any) -> Any:
        asked.append((view.now_ns - OPEN_NS) // SECOND_NS)
        return answer(rule, view)

    monkeypatch.setattr(proposing, "ask", heard)
    run(recording(series(rows=crossing(20, up_at=[5], down_at=[12]))))
    assert asked == [5, 12]


def test_window_when_cut_then_the_rows_are_those_of_one_at_a_time() -> None:
    """Null is None, whatever the cut."""
    made = series(rows=[{"close": 100.0 + at, "macd": float("nan") if at % 3 else at} for at in range(12)])
    window = Window(made, 9, 8)
    plain = [made.signal(at) for at in range(2, 10)]
    for cut in (slice(None), slice(-3, None), slice(2, 5), slice(None, None, 2), slice(5, 2), slice(-99, 99)):
        assert list(window[cut]) == plain[cut]
    assert (list(window), window[-1].macd, window[0].macd) == (plain, 9.0, None)


def test_warnings_when_a_strategy_was_asked_nothing_or_failed_then_each_is_said(run: Runner) -> None:
    """A result of no trades must not look like a verdict on a strategy whose rows are not in the data."""
    found = recording(series(rows=crossing(20, up_at=[5])))
    result = run(found, entries=tuple(replace(each, base_timeframe="1Min") for each in plan().entries))
    [name] = [strategy.name for strategy in result.strategies]
    asked, few = figures_of(result, found).warnings
    assert asked == f"{name} judges 1Min rows, and these data hold 1Sec alone: it was asked nothing"
    assert few.startswith("closed trades (0)")
    failing = replace(result, failures={"own": (3, "own: raised ZeroDivisionError on A")})
    assert figures_of(failing, found).warnings[1] == (
        "own failed (times: 3), and nothing was traded for it then; the last time: own: raised ZeroDivisionError on A"
    )
