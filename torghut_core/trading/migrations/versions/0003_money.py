"""Whose the shares are where order events alone cannot say it, and what the AI review spent."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; what was recorded before stays."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Refuse: an older version would take handed-over shares for a strategy's."""
    raise NotImplementedError("0003 cannot be undone: restore the backup from before it")
