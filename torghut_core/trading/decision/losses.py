"""The stop after losses: judged by equity against the day's first reading and against the best since. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Literal

Limit = Literal["daily_loss", "drawdown"]


@dataclass(frozen=True, kw_only=True)
class EquityMarks:
    """What equity is measured against: the first reading of the New York day, and the highest of all."""

    day: date
    day_equity: Decimal
    peak_equity: Decimal

    def seen(self, day: date, equity: Decimal) -> EquityMarks:
        """Return the marks after equity was read as `equity` on `day`."""
        peak = max(self.peak_equity, equity)
        if day > self.day:
            return EquityMarks(day=day, day_equity=equity, peak_equity=peak)
        return self if peak == self.peak_equity else replace(self, peak_equity=peak)


def broken_limit(
    marks: EquityMarks,
    equity: Decimal,
    *,
    daily_loss: Decimal | None,
    daily_loss_share: Decimal | None,
    drawdown_share: Decimal | None,
) -> Limit | None:
    """Return the limit that equity has reached, None while it keeps above all. Dollars, and shares of the mark."""
    lost = marks.day_equity - equity
    if daily_loss is not None and lost >= daily_loss:
        return "daily_loss"
    if daily_loss_share is not None and lost >= daily_loss_share * marks.day_equity:
        return "daily_loss"
    if drawdown_share is not None and marks.peak_equity - equity >= drawdown_share * marks.peak_equity:
        return "drawdown"
    return None
