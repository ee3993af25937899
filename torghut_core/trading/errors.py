"""Errors that more than one room of trading speaks of."""

from __future__ import annotations

from torghut_core.errors import TorghutError


class NotTradingError(TorghutError):
    """This process has no trading state of its own, and heard of none; the message is the stable detail."""
