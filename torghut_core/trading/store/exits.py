"""Holdings and exits: what the loop knows of each stay in a symbol, and who wants to be out of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from torghut_core.trading.decision.exits import Cause, Holding
from torghut_core.trading.encoding import datetime_ns
from torghut_core.trading.store.database import Database, at

SETTLED = frozenset({"rejected", "filled", "canceled", "expired", "replaced", "never_arrived", "order_missing"})
"""Decision states after which an attempt is over."""


@dataclass(frozen=True, kw_only=True)
class OpenExit:
    """A strategy's standing wish to be out of a holding, and where its last attempt stands."""

    id: UUID
    symbol: str
    holding_number: int
    strategy_id: UUID
    cause: Cause
    timeframe: str
    rationale: str | None
    signal_ts: datetime | None
    attempts: int
    opened_at: datetime
    last_decision_id: UUID | None
    last_status: str | None
    last_reasons: str | None

    @property
    def is_settled(self) -> bool:
        """Whether nothing of the last attempt is under way."""
        return self.last_status is None or self.last_status in SETTLED


class ExitStore:
    """Reads and writes holdings and exits of one account."""

    def __init__(self, database: Database, *, account_label: str) -> None:
        self._database = database
        self._account_label = account_label

    def holdings(self) -> dict[str, Holding]:
        """Return the holdings that are open, by symbol."""
        with self._database.statement() as connection:
            rows = connection.execute(
                "SELECT symbol, number, is_long, opened_at, best_price FROM trading_holdings"
                " WHERE alpaca_account_label = %s AND closed_at IS NULL",
                (self._account_label,),
            ).fetchall()
        return {row["symbol"]: _holding(row) for row in rows}

    def open_holding(self, symbol: str, *, is_long: bool, price: Decimal, foreign_since_ns: int) -> Holding:
        """Record that a symbol is held, and return the holding.

        It began with the signal of the newest own order that filled since the one before ended, else with
        `foreign_since_ns`: a signal from before then says nothing of it.
        """
        with self._database.statement() as connection:
            row = connection.execute(
                "WITH last AS (SELECT coalesce(max(number), 0) AS number, max(closed_at) AS closed_at"
                " FROM trading_holdings WHERE alpaca_account_label = %(account)s::text AND symbol = %(symbol)s::text),"
                " own AS (SELECT min(d.signal_ts) AS began FROM executions e JOIN trade_decisions d"
                " ON d.id = e.trade_decision_id, last WHERE e.alpaca_account_label = %(account)s::text"
                " AND e.symbol = %(symbol)s::text AND e.filled_qty > 0 AND d.leg = 'entry' AND d.side = %(side)s::text"
                " AND (last.closed_at IS NULL OR e.created_at >= last.closed_at OR e.updated_at >= last.closed_at))"
                " INSERT INTO trading_holdings (alpaca_account_label, symbol, number, is_long, opened_at, best_price)"
                " SELECT %(account)s::text, %(symbol)s::text, last.number + 1, %(is_long)s::boolean, coalesce(own.began, %(foreign)s::timestamptz), %(price)s::numeric"
                " FROM last, own RETURNING symbol, number, is_long, opened_at, best_price",
                {
                    "account": self._account_label,
                    "symbol": symbol,
                    "side": "buy" if is_long else "sell",
                    "is_long": is_long,
                    "foreign": at(foreign_since_ns),
                    "price": price,
                },
            ).fetchone()
        assert row is not None
        return _holding(row)

    def close_holding(self, holding: Holding, *, now_ns: int) -> None:
        """Record that nothing of a holding is left; what wanted to be out of it is out."""
        key = (at(now_ns), self._account_label, holding.symbol, holding.number)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE trading_holdings SET closed_at = %s WHERE alpaca_account_label = %s AND symbol = %s AND number = %s",
                key,
            )
            connection.execute(
                "UPDATE trading_exits SET closed_at = %s WHERE alpaca_account_label = %s AND symbol = %s"
                " AND holding_number = %s AND closed_at IS NULL",
                key,
            )

    def save_best_prices(self, holdings: Iterable[Holding]) -> None:
        """Store the best price since each holding began."""
        with self._database.transaction() as connection:
            for holding in holdings:
                connection.execute(
                    "UPDATE trading_holdings SET best_price = %s WHERE alpaca_account_label = %s AND symbol = %s"
                    " AND number = %s",
                    (holding.best_price, self._account_label, holding.symbol, holding.number),
                )

    def open_exit(
        self,
        holding: Holding,
        *,
        strategy_id: str,
        cause: Cause,
        timeframe: str,
        rationale: str,
        signal_ns: int | None,
        now_ns: int,
    ) -> bool:
        """Record that a strategy wants out of a holding; return whether it did not yet."""
        with self._database.statement() as connection:
            return (
                connection.execute(
                    "INSERT INTO trading_exits (alpaca_account_label, symbol, holding_number, strategy_id, cause, timeframe,"
                    " rationale, signal_ts, opened_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    (
                        self._account_label,
                        holding.symbol,
                        holding.number,
                        strategy_id,
                        cause,
                        timeframe,
                        rationale,
                        None if signal_ns is None else at(signal_ns),
                        at(now_ns),
                    ),
                ).rowcount
                == 1
            )

    def open_exits(self) -> tuple[OpenExit, ...]:
        """Return the exits that are not done, oldest first."""
        with self._database.statement() as connection:
            rows = connection.execute(
                "SELECT x.id, x.symbol, x.holding_number, x.strategy_id, x.cause, x.timeframe, x.rationale, x.signal_ts,"
                " x.attempts, x.opened_at, x.last_decision_id, d.status AS last_status, d.risk_reasons AS last_reasons"
                " FROM trading_exits x LEFT JOIN trade_decisions d ON d.id = x.last_decision_id"
                " JOIN strategies s ON s.id = x.strategy_id"
                " WHERE x.alpaca_account_label = %s AND x.closed_at IS NULL"
                " ORDER BY x.opened_at, x.symbol, s.name, x.cause",
                (self._account_label,),
            ).fetchall()
        return tuple(OpenExit(**row) for row in rows)

    def close_exit(self, exit_id: UUID, *, now_ns: int) -> None:
        """Record that a strategy's part is flat."""
        with self._database.statement() as connection:
            connection.execute(
                "UPDATE trading_exits SET closed_at = %s WHERE id = %s AND closed_at IS NULL", (at(now_ns), exit_id)
            )


def _holding(row: dict[str, Any]) -> Holding:
    return Holding(
        symbol=row["symbol"],
        number=row["number"],
        is_long=row["is_long"],
        opened_ns=datetime_ns(row["opened_at"]),
        best_price=row["best_price"],
    )
