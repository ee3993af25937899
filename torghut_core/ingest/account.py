"""What arrived, per symbol: the ground that backfill stands on.

A minute bar counts as there once it is on its way to Kafka, and no more when it was dropped. A gap begins at the last
message before a connection was lost, or at the first record that was dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torghut_core.ingest.intake import Chunk

MINUTE_NS = 60_000_000_000


@dataclass
class Account:
    """Times are nanoseconds since the epoch; names are symbols."""

    names: list[str]
    """The symbol table's, by place."""
    keeps_trades: bool
    minutes: dict[str, set[int]] = field(default_factory=dict)
    """Starts of the minutes that are there or on their way."""
    acked_minute: dict[str, int] = field(default_factory=dict)
    acked_trade: dict[str, int] = field(default_factory=dict)
    bars_from: dict[str, int] = field(default_factory=dict)
    """Where minute bars are missing from, by symbol, as far as a drop says so."""
    trades_from: dict[str, int] = field(default_factory=dict)
    """Where trades are missing from, by symbol."""
    is_lost: bool = False
    """Whether nothing comes now: trades are still going missing, so a gap that is filled meanwhile stays one."""

    def add_minute(self, symbol: str, start_ns: int) -> bool:
        """Note a minute bar; tell whether it is new."""
        minutes = self.minutes.setdefault(symbol, set())
        if start_ns in minutes:
            return False
        minutes.add(start_ns)
        return True

    def forget_minutes(self, before_ns: int) -> None:
        """Forget minutes that nobody will ask for any more."""
        for symbol, minutes in self.minutes.items():
            self.minutes[symbol] = {start for start in minutes if start >= before_ns}

    def acked(self, chunk: Chunk) -> None:
        """Note what is durable."""
        if chunk.channel == "bars":
            known = self.acked_minute
        elif chunk.channel == "trades" and self.keeps_trades:
            known = self.acked_trade
        else:
            return
        for place, at_ns in zip(chunk.places.tolist(), chunk.at_ns.tolist(), strict=True):
            name = self.names[place]
            known[name] = max(known.get(name, 0), at_ns)

    def dropped(self, chunk: Chunk) -> None:
        """Note what will not be durable."""
        if chunk.channel == "bars":
            for place, at_ns in zip(chunk.places.tolist(), chunk.at_ns.tolist(), strict=True):
                name = self.names[place]
                self.minutes.get(name, set()).discard(at_ns)
                self.bars_from[name] = min(self.bars_from.get(name, at_ns), at_ns)
        elif chunk.channel == "trades" and self.keeps_trades:
            for place, at_ns in zip(chunk.places.tolist(), chunk.at_ns.tolist(), strict=True):
                name = self.names[place]
                self.trades_from[name] = min(self.trades_from.get(name, at_ns), at_ns)

    def take_gaps(self, channel: str) -> dict[str, int]:
        """Return where a channel's gaps begin, to be filled now; those that come meanwhile are new ones.

        A gap of trades that has no end yet is kept as well: what is filled now is filled again once it has one.
        """
        if channel == "bars":
            gaps, self.bars_from = self.bars_from, {}
            return gaps
        gaps = self.trades_from
        self.trades_from = dict(gaps) if self.is_lost else {}
        return gaps

    def give_back(self, channel: str, gaps: Mapping[str, int]) -> None:
        """Take gaps back that could not be filled."""
        known = self.bars_from if channel == "bars" else self.trades_from
        for name, at_ns in gaps.items():
            known[name] = min(known.get(name, at_ns), at_ns)

    def lost_connection(self, quiet_until_ns: int) -> None:
        """Note that nothing comes from now on, until `found_connection`: it leaves a gap, see `note_gap`."""
        self.is_lost = True
        self.note_gap(quiet_until_ns)

    def found_connection(self) -> None:
        """Note that what is subscribed comes again: the gap has its end."""
        self.is_lost = False

    def note_gap(self, quiet_until_ns: int) -> None:
        """Note that trades may be missing after each symbol's last durable one.

        Of a symbol without any the stream would have brought those until `quiet_until_ns`.
        """
        for name in (*self.names, *self.acked_trade):
            self.trades_from.setdefault(name, self.acked_trade.get(name, quiet_until_ns))
