"""nautilus_trader over the benchmark's bars: run by `benchmarks.backtest` in the peers' environment."""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

START_NS = 1_767_623_400_000_000_000


class _Rule(Strategy):
    def __init__(self, columns: dict, instruments: list, extreme: int) -> None:
        super().__init__()
        self._extreme = extreme
        self._instruments = instruments
        self._rows = {
            instrument.id: (columns["macd"][at] - columns["macd_signal"][at], columns["rsi14"][at])
            for at, instrument in enumerate(instruments)
        }
        self._at = dict.fromkeys(self._rows, -1)
        self._held = dict.fromkeys(self._rows, False)
        self.fills = 0

    def on_start(self) -> None:
        for instrument in self._instruments:
            self.subscribe_bars(BarType.from_str(f"{instrument.id}-1-SECOND-LAST-EXTERNAL"))

    def on_order_filled(self, event) -> None:
        self.fills += 1
        self._held[event.instrument_id] = event.order_side == OrderSide.BUY

    def on_bar(self, bar: Bar) -> None:
        key = bar.bar_type.instrument_id
        self._at[key] = at = self._at[key] + 1
        if at < 31:
            return
        distance, rsi = self._rows[key]
        before, now = distance[at - 1], distance[at]
        if before <= 0 < now:
            if not self._held[key] and rsi[at - 30 : at + 1].min() < self._extreme:
                self._order(key, OrderSide.BUY)
        elif before >= 0 > now and self._held[key] and rsi[at - 30 : at + 1].max() > 100 - self._extreme:
            self._order(key, OrderSide.SELL)

    def _order(self, key: InstrumentId, side: OrderSide) -> None:
        self.submit_order(self.order_factory.market(key, side, Quantity.from_int(10)))


def main() -> None:
    """Run one case and print its figures."""
    columns = dict(np.load(sys.argv[2]))
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    venue = Venue("SIM")
    engine.add_venue(
        venue=venue,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(100_000_000, USD)],
    )
    instruments = []
    symbols, seconds = columns["c"].shape
    for at in range(symbols):
        instrument = Equity(
            instrument_id=InstrumentId(Symbol(f"S{at}"), venue),
            raw_symbol=Symbol(f"S{at}"),
            currency=USD,
            price_precision=2,
            price_increment=Price.from_str("0.01"),
            lot_size=Quantity.from_int(1),
            ts_event=0,
            ts_init=0,
            margin_init=Decimal(1),
            margin_maint=Decimal(1),
        )
        engine.add_instrument(instrument)
        instruments.append(instrument)
        kind = BarType.from_str(f"{instrument.id}-1-SECOND-LAST-EXTERNAL")
        size = Quantity.from_int(1000)
        bars = []
        for row in range(seconds):
            end_ns = START_NS + (row + 1) * 1_000_000_000
            prices = [Price(float(columns[name][at, row]), 2) for name in "ohlc"]
            bars.append(Bar(kind, *prices, size, end_ns, end_ns))
        engine.add_data(bars, sort=at == symbols - 1)
    rule = _Rule(columns, instruments, int(sys.argv[3]))
    engine.add_strategy(rule)
    before, wall = time.process_time(), time.perf_counter()
    engine.run()
    print(json.dumps({"cpu": time.process_time() - before, "wall": time.perf_counter() - wall, "fills": rule.fills}))


if __name__ == "__main__":
    main()
