"""500 fresh signals to stored, gated decisions, per CPU second, beside the same work in plain SQLAlchemy ORM style.

`python -m benchmarks.trading`: an embedded PostgreSQL, no AI, no broker call; every entry is sized, asked all gates and
ends as rejected (the market is closed), as most decisions of a busy day do. The peer stores each decision as an object,
flushes and commits it, and commits its end, one after the other, as such code is usually written; it judges nothing.
Both count this process's CPU seconds; PostgreSQL's own are in none.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.fakes.trading_values import NOW_NS, make_book, make_context, make_intent, make_settings, make_signal
from torghut_core.engines.postgres import open_postgres
from torghut_core.market_calendar import Session as MarketSession
from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.decision.quote import quote_of
from torghut_core.trading.decision.sizing import size_entry
from torghut_core.trading.risk import refusals
from torghut_core.trading.store.database import Database
from torghut_core.trading.store.decisions import DecisionStore, Refused
from torghut_core.trading.store.schema import migrate
from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue

COUNT = 500


class _Base(DeclarativeBase):
    pass


class _Decision(_Base):
    __tablename__ = "trade_decisions"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    strategy_id: Mapped[uuid.UUID]
    alpaca_account_label: Mapped[str]
    symbol: Mapped[str]
    timeframe: Mapped[str]
    signal_ts: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    side: Mapped[str]
    decision_hash: Mapped[str]
    decision_json: Mapped[dict[str, Any]] = mapped_column(JSONB)
    rationale: Mapped[str]
    status: Mapped[str]
    risk_reasons: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))


def run(repeats: int = 3) -> Iterator[str]:
    """Yield the table's lines: decisions per CPU second, the best of `repeats`."""
    with tempfile.TemporaryDirectory(prefix="torghut-bench-", ignore_cleanup_errors=True) as folder:
        server = open_postgres(f"embedded:{folder}/pg")
        try:
            migrate(server)
            database = Database(server)
            database.open()
            store = DecisionStore(database, account_label="paper")
            strategy = store.apply_catalogue(read_catalogue(DEFAULT_PATH), mode="merge", now_ns=NOW_NS)[0]
            rounds = iter(range(10_000))

            def fresh() -> list[Intent]:
                start = next(rounds) * COUNT
                return [
                    make_intent(strategy=strategy, signal=make_signal(event_ns=NOW_NS - (start + index) * 1_000_000))
                    for index in range(COUNT)
                ]

            own = max(_rate(lambda: _own(store, fresh())) for _ in range(repeats))
            engine = sa.create_engine("postgresql+psycopg://", creator=server.connect)
            peer = max(_rate(lambda: _peer(engine, fresh())) for _ in range(repeats))
            engine.dispose()
            database.close()
        finally:
            server.close()
    yield "| way | decisions per CPU second | ratio |"
    yield "|---|---|---|"
    yield f"| trading, judged and stored in batches | {own:,.0f} | {own / peer:.1f} |"
    yield f"| SQLAlchemy ORM, one by one, not judged | {peer:,.0f} | 1 |"


def _rate(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return COUNT / (time.process_time() - before)


def _own(store: DecisionStore, intents: list[Intent]) -> None:
    settings, book = make_settings(), make_book()
    rows = store.record(intents, now_ns=NOW_NS)
    refused = []
    for intent in intents:
        size = size_entry(
            side=intent.side,
            symbol=intent.symbol,
            price=Decimal(100),
            strategy=intent.strategy,
            book=book,
            settings=settings,
            volatility=None,
        )
        context = make_context(
            settings=settings,
            book=book,
            strategy=intent.strategy,
            signal=intent.signal,
            quote=quote_of(intent.signal),
            size=size,
            session=MarketSession.CLOSED,
        )
        reasons = refusals(context)
        refused.append(Refused(decision_id=rows[intent.key].id, reasons=reasons, facts={"sizing": size.audit}))
    store.reject(refused, now_ns=NOW_NS)


def _peer(engine: sa.Engine, intents: list[Intent]) -> None:
    with Session(engine) as session:
        for intent in intents:
            now = datetime.now(UTC)
            row = _Decision(
                strategy_id=uuid.UUID(intent.strategy.id),
                alpaca_account_label="paper",
                symbol=intent.symbol,
                timeframe=intent.signal.timeframe,
                signal_ts=datetime.fromtimestamp(intent.signal.event_ns / 1e9, UTC),
                side=intent.side,
                decision_hash=intent.key,
                decision_json={"symbol": intent.symbol, "close": intent.signal.close},
                rationale=intent.rationale,
                status="planned",
                risk_reasons=None,
                created_at=now,
                updated_at=now,
            )
            session.add(row)
            session.commit()
            row.status, row.risk_reasons = "rejected", "market_closed"
            session.commit()


def main() -> None:
    """Measure and print."""
    for line in run():
        print(line)


if __name__ == "__main__":
    main()
