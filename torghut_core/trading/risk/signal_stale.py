"""A signal older than TRADING_FEATURE_MAX_STALENESS_MS, or from the future by as much, is not acted on.

The age of a feed that is late by design is counted from its delay.
"""

from __future__ import annotations

from torghut_core.trading.risk.context import GateContext

REASON = "signal_stale"
_NS_PER_MS = 1_000_000


def check(context: GateContext) -> str | None:
    """Return the reason to refuse, None to let pass."""
    if context.signal is None:
        return REASON
    age_ns = context.now_ns - context.signal.event_ns
    limit_ns = context.settings.signal_max_staleness_ms * _NS_PER_MS
    return None if -limit_ns <= age_ns <= limit_ns + context.settings.feed_delay_ns else REASON
