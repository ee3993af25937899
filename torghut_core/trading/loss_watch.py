"""Measures equity, and latches entries shut when a loss limit is reached."""

from __future__ import annotations

import asyncio

from torghut_core.market_calendar import new_york_date
from torghut_core.trading.decision.losses import EquityMarks, broken_limit
from torghut_core.trading.parts import Parts
from torghut_core.trading.settings import TradingSettings, check_broker_account


def has_loss_limit(settings: TradingSettings) -> bool:
    """Tell whether a loss limit is set."""
    limits = (settings.max_daily_loss, settings.max_daily_loss_pct, settings.max_drawdown_pct)
    return any(limit is not None for limit in limits)


async def watch_losses(parts: Parts) -> None:
    """Measure equity against its marks. Raises BrokerUnavailableError, EngineUnavailableError, ConfigurationError."""
    settings = parts.settings
    if parts.broker is None or not has_loss_limit(settings):
        return
    account = await parts.broker.account()
    check_broker_account(settings, account.number)
    now_ns = parts.clock.now_ns()
    known = await asyncio.to_thread(parts.control.marks)
    day = new_york_date(now_ns)
    start = known or EquityMarks(day=day, day_equity=account.equity, peak_equity=account.equity)
    marks = start.seen(day, account.equity)
    if marks != known:
        await asyncio.to_thread(parts.control.save_marks, marks)
    limit = broken_limit(
        marks,
        account.equity,
        daily_loss=settings.max_daily_loss,
        daily_loss_share=settings.max_daily_loss_pct,
        drawdown_share=settings.max_drawdown_pct,
    )
    if limit is None:
        return
    mark = marks.day_equity if limit == "daily_loss" else marks.peak_equity
    if await asyncio.to_thread(parts.control.latch, limit, equity=account.equity, mark=mark, now_ns=now_ns):
        text = f"{limit}: equity {account.equity:f} against {mark:f}; no entry until a person resumes"
        parts.alerts.tell("loss_limit_latched", f"{limit}:{now_ns}", text)
