"""Strategies: rules in Python and rules declared in the catalogue, pure: a view of signals → proposals or nothing.

A rule judges the last signal of its window against those before it, so that the same rows give the same proposals
after a restart, a replay, or a row that arrived late. What an author needs is importable from here.
"""

from torghut_core.trading.model import Proposal, Signal
from torghut_core.trading.strategies.definition import strategy
from torghut_core.trading.strategies.parameters import Parameter
from torghut_core.trading.strategies.rule import Held, View

__all__ = ["Held", "Parameter", "Proposal", "Signal", "View", "strategy"]
