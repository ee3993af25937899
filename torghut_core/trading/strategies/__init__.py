"""Rules by name, one file each, pure: a window of signals in time order → a proposal or nothing.

A rule judges the last signal of its window against those before it, so that the same rows give the same proposals
after a restart, a replay, or a row that arrived late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torghut_core.trading.model import Proposal, Signal
from torghut_core.trading.strategies import macd_rsi

Rule = Callable[[Sequence[Signal], Mapping[str, Any]], Proposal | None]

RULES: Mapping[str, Rule] = {"macd-rsi": macd_rsi.propose}
PARAMETER_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {"macd-rsi": macd_rsi.read_parameters}
"""Raise InputError for parameters that the rule of that name does not take."""
