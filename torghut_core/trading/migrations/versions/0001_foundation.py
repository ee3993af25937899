"""Strategies, decisions, orders, cursor, leadership, reviews."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Drop the tables: every decision and order record with them."""
    op.get_bind().exec_driver_sql(
        "DROP TABLE llm_decision_reviews, order_claims, executions, trade_decisions, strategies, trade_cursor,"
        " trading_leadership"
    )
