"""Exits and holdings, recorded stops and switches, loss latches, order events, late arrivals, signs of life, alerts."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and columns; what was recorded before stays."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Refuse: order events and stops cannot be told by an older version."""
    raise NotImplementedError("0002 cannot be undone: restore the backup from before it")
