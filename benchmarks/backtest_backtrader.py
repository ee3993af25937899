"""backtrader over the benchmark's bars: run by `benchmarks.backtest` in the peers' environment."""

from __future__ import annotations

import datetime
import json
import sys
import time

import backtrader
import numpy as np
from backtrader.feed import DataBase


class _Rows(DataBase):
    """A feed over arrays, with the indicators as further lines."""

    lines = ("macd", "macd_signal", "rsi14")
    params = (("columns", None), ("at", 0))

    def start(self) -> None:
        super().start()
        self._row = -1

    def _load(self) -> bool:
        self._row += 1
        columns, at = self.p.columns, self.p.at
        if self._row >= columns["c"].shape[1]:
            return False
        start = datetime.datetime.fromisoformat("2026-01-05T14:30:00")
        self.lines.datetime[0] = backtrader.date2num(start + datetime.timedelta(seconds=self._row + 1))
        for line, name in (("open", "o"), ("high", "h"), ("low", "l"), ("close", "c")):
            getattr(self.lines, line)[0] = columns[name][at, self._row]
        for name in ("macd", "macd_signal", "rsi14"):
            getattr(self.lines, name)[0] = columns[name][at, self._row]
        self.lines.volume[0] = 1000
        self.lines.openinterest[0] = 0
        return True


class _Rule(backtrader.Strategy):
    params = (("extreme", 12),)

    def __init__(self) -> None:
        self.fills = 0

    def notify_order(self, order: backtrader.Order) -> None:
        self.fills += order.status == order.Completed

    def next(self) -> None:
        for data in self.datas:
            if len(data) < 32:
                continue
            before, now = data.macd[-1] - data.macd_signal[-1], data.macd[0] - data.macd_signal[0]
            if before <= 0 < now:
                if not self.getposition(data).size and min(data.rsi14.get(size=31)) < self.p.extreme:
                    self.buy(data, size=10)
            elif (
                before >= 0 > now
                and self.getposition(data).size
                and max(data.rsi14.get(size=31)) > 100 - self.p.extreme
            ):
                self.sell(data, size=10)


def main() -> None:
    """Run one case and print its figures."""
    columns = dict(np.load(sys.argv[2]))
    engine = backtrader.Cerebro(stdstats=False)
    engine.broker.setcash(1e8)
    for at in range(columns["c"].shape[0]):
        engine.adddata(_Rows(columns=columns, at=at))
    engine.addstrategy(_Rule, extreme=int(sys.argv[3]))
    before, wall = time.process_time(), time.perf_counter()
    [ran] = engine.run()
    print(json.dumps({"cpu": time.process_time() - before, "wall": time.perf_counter() - wall, "fills": ran.fills}))


if __name__ == "__main__":
    main()
