"""What a provider is shown of an order: named facts alone, and no text that could be more than text.

Every fact is put in by name: of the account three figures, never a number or key of it, and nothing that others wrote but
the rule's reasons and two names. Those are cut to one line of plain characters, and what looks like a key is taken out.
"""

from __future__ import annotations

import re
from typing import Any

from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.decision.quote import Quote
from torghut_core.trading.encoding import format_datetime
from torghut_core.trading.risk.context import GateContext
from torghut_core.trading.store.database import at

_PLAIN = re.compile(r"[^A-Za-z0-9 _.,:;<>=+\-*/%()\[\]#&|!?]")
_SECRET = re.compile(r"[A-Za-z0-9+/_\-]{20,}|[0-9]{8,}")
_NAME, _TEXT = 64, 200
REDACTED = "[redacted]"


def clean(text: str, limit: int = _TEXT) -> str:
    """Return `text` as one line of plain characters, at most `limit` of them, without what looks like a key or number."""
    line = _PLAIN.sub(" ", " ".join(text.split()))
    return _SECRET.sub(REDACTED, " ".join(line.split()))[:limit]


def request_of(context: GateContext, intent: Intent) -> dict[str, Any]:
    """Return the facts of one entry, for the provider and for the record."""
    settings, account = context.settings, None if context.book is None else context.book.account
    return {
        "decision": {
            "strategy": clean(intent.strategy.name, _NAME),
            "symbol": intent.symbol,
            "action": intent.side,
            "qty": str(context.qty),
            "order_type": context.terms.type,
            "time_in_force": "day",
            "event_ts": format_datetime(at(intent.signal.event_ns)),
            "timeframe": intent.signal.timeframe,
            "rationale": clean(intent.rationale),
        },
        "account": None
        if account is None
        else {
            "equity": str(account.equity),
            "cash": str(account.cash),
            "buying_power": str(account.buying_power),
        },
        "market": {"symbol": intent.symbol, **_quote_json(context.quote)},
        "position": None if context.book is None else str(context.book.held(intent.symbol)),
        "policy": {
            "adjustment_allowed": settings.llm_adjustment_allowed,
            "min_qty_multiplier": settings.llm_min_qty_multiplier,
            "max_qty_multiplier": min(1.0, settings.llm_max_qty_multiplier),
        },
        "trading_mode": settings.mode,
        "prompt_version": settings.llm_prompt_version,
    }


def _quote_json(quote: Quote) -> dict[str, str | None]:
    return {
        "bid": None if quote.bid is None else str(quote.bid),
        "ask": None if quote.ask is None else str(quote.ask),
    }
