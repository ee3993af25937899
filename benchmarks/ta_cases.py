"""One case of the TA benchmark in this process, pinned to one core: `python benchmarks/ta_cases.py CASE FILE`.

Prints JSON: events, bars, user and system CPU seconds, peak memory, of what it started too. Input is in memory before the
clock starts. Run by `benchmarks.ta`; peers run it with a Python of their own, so everything is imported inside its case.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.plain import PlainJob, all_indicators, read_time

Records = list[bytes]


def floor(records: Records) -> Callable[[], int]:
    """Decode the four needed fields, and do nothing with them."""
    decode = _four_fields()

    def run() -> int:
        for record in records:
            decode(record)
        return 0

    return run


def _four_fields() -> Any:
    import msgspec

    class Payload(msgspec.Struct, gc=False):
        p: float
        s: float

    class Trade(msgspec.Struct, gc=False):
        event_ts: str
        symbol: str
        payload: Payload

    return msgspec.json.Decoder(
        msgspec.defstruct("Trade", [("event_ts", str), ("symbol", str), ("payload", Payload)], gc=False)
    ).decode


def torghut(records: Records, batch: int = 32_768) -> Callable[[], int]:
    """Decode, second bars and every indicator, by the engine as `run ta` uses it."""
    from torghut_core.ta.decoding import scanner, verdicts
    from torghut_core.ta.decoding.decode import Decoder
    from torghut_core.ta.engine import indicators, reduction
    from torghut_core.ta.engine.engine import Engine, EngineSettings

    for kernels in (indicators, scanner, verdicts, reduction):
        kernels.warm_up()
    idle: Any = frozenset(["quotes", "bars"])

    def run() -> int:
        decoder, engine, bars = Decoder(), Engine(EngineSettings()), 0
        for start in range(0, len(records), batch):
            engine.add(decoder.trades(records[start : start + batch]))
            bars += sum(len(block.bars.end) for block in engine.emit(idle))
        return bars + sum(len(block.bars.end) for block in engine.finish())

    return run


def torghut_small(records: Records) -> Callable[[], int]:
    """The same in batches of 4,096."""
    return torghut(records, 4096)


def _plain(records: Records, decode: Callable[[bytes], tuple[str, str, float, float]], make: Any) -> Callable[[], int]:
    def run() -> int:
        job = PlainJob(make)
        for record in records:
            symbol, time, price, size = decode(record)
            job.take(symbol, read_time(time), price, size)
        job.close(1 << 40)
        return job.bars

    return run


def _of_dict(loads: Callable[[bytes], Any]) -> Callable[[bytes], tuple[str, str, float, float]]:
    def decode(record: bytes) -> tuple[str, str, float, float]:
        said = loads(record)
        payload = said["payload"]
        return said["symbol"], said["event_ts"], payload["p"], payload["s"]

    return decode


def plain_json(records: Records) -> Callable[[], int]:
    """Plain Python, json."""
    return _plain(records, _of_dict(json.loads), all_indicators)


def plain_orjson(records: Records) -> Callable[[], int]:
    """Plain Python, orjson."""
    import orjson

    return _plain(records, _of_dict(orjson.loads), all_indicators)


def _typed(record_decoder: Any) -> Callable[[bytes], tuple[str, str, float, float]]:
    def decode(record: bytes) -> tuple[str, str, float, float]:
        said = record_decoder(record)
        return said.symbol, said.event_ts, said.payload.p, said.payload.s

    return decode


def plain_msgspec(records: Records) -> Callable[[], int]:
    """Plain Python, msgspec structs."""
    return _plain(records, _typed(_four_fields()), all_indicators)


def nautilus(records: Records) -> Callable[[], int]:
    """Plain windows, indicators of nautilus_trader where it has them (no VWAP windows, no volatility)."""
    try:
        from nautilus_trader.core.nautilus_pyo3 import (
            BollingerBands,
            ExponentialMovingAverage,
            RelativeStrengthIndex,
        )
    except ImportError:
        from nautilus_trader.core.nautilus_pyo3.indicators import (
            BollingerBands,
            ExponentialMovingAverage,
            RelativeStrengthIndex,
        )

    def make() -> Any:
        fast, slow, signal = (ExponentialMovingAverage(period) for period in (12, 26, 9))
        rsi, bands = RelativeStrengthIndex(14), BollingerBands(20, 2.0)

        def take(end: int, close: float, price_size: float, size: float) -> Any:
            fast.update_raw(close)
            slow.update_raw(close)
            signal.update_raw(fast.value - slow.value)
            rsi.update_raw(close)
            bands.update_raw(close, close, close)
            return fast.value, slow.value, signal.value, rsi.value, bands.upper

        return take

    return _plain(records, _typed(_four_fields()), make)


def talib_windows(records: Records) -> Callable[[], int]:
    """Plain windows, TA-Lib's functions over the last 250 closes at every bar (five indicators)."""
    import numpy as np
    import talib

    def make() -> Any:
        closes = np.zeros(500)
        count = 0

        def take(end: int, close: float, price_size: float, size: float) -> Any:
            nonlocal count
            if count == 500:
                closes[:250] = closes[250:]
                count = 250
            closes[count] = close
            count += 1
            last = closes[max(0, count - 250) : count]
            if count < 35:
                return None
            return (
                talib.stream.EMA(last, 12), talib.stream.EMA(last, 26), talib.stream.MACD(last, 12, 26, 9),
                talib.stream.RSI(last, 14), talib.stream.BBANDS(last, 20, 2, 2),
            )  # fmt: skip

        return take

    return _plain(records, _typed(_four_fields()), make)


def polars_batch(records: Records) -> Callable[[], int]:
    """Polars over the whole hour at once: no lateness rule, nothing streams; its own EMA seeding."""
    import polars as pl

    schema = {
        "event_ts": pl.String,
        "symbol": pl.String,
        "payload": pl.Struct({"p": pl.Float64, "s": pl.Float64}),
    }

    def run() -> int:
        trades = pl.read_ndjson(b"\n".join(records), schema=schema).with_row_index("line")
        payload = pl.col("payload").struct
        trades = trades.select(
            "symbol",
            "line",
            pl.col("event_ts").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ns").alias("at"),
            payload.field("p").alias("p"),
            payload.field("s").alias("s"),
        ).sort("at", "line")
        price, size = pl.col("p"), pl.col("s")
        bars = (
            trades.group_by("symbol", pl.col("at").dt.truncate("1s").alias("start"), maintain_order=True)
            .agg(
                price.first().alias("o"),
                price.max().alias("h"),
                price.min().alias("l"),
                price.last().alias("c"),
                size.sum().alias("v"),
                (price * size).sum().alias("ps"),
                price.len().alias("count"),
            )
            .sort("symbol", "start")
        )
        close = pl.col("c")
        change = close.diff()
        fast, slow = close.ewm_mean(span=12, adjust=False), close.ewm_mean(span=26, adjust=False)
        gain = change.clip(lower_bound=0).ewm_mean(alpha=1 / 14, adjust=False)
        loss = (-change).clip(lower_bound=0).ewm_mean(alpha=1 / 14, adjust=False)
        middle, deviation = close.rolling_mean(20), close.rolling_std(20, ddof=0)
        five = {"window_size": "5m", "closed": "right"}
        found = bars.with_columns(
            (fast - slow).over("symbol").alias("macd"),
            (fast - slow).ewm_mean(span=9, adjust=False).over("symbol").alias("signal"),
            (100 * gain / (gain + loss)).over("symbol").alias("rsi"),
            (middle + 2 * deviation).over("symbol").alias("upper"),
            (middle - 2 * deviation).over("symbol").alias("lower"),
            (pl.col("ps").cum_sum() / pl.col("v").cum_sum()).over("symbol").alias("session"),
            (pl.col("ps").rolling_sum_by("start", **five) / pl.col("v").rolling_sum_by("start", **five))
            .over("symbol")
            .alias("w5m"),
            (close.log().diff().rolling_std_by("start", window_size="60s", closed="right", ddof=0))
            .over("symbol")
            .alias("volatility"),
        )
        return len(found)

    return run


def bytewax(records: Records) -> Callable[[], int]:
    """Bytewax: orjson, keyed by symbol, the plain windows and indicators in its stateful_batch."""
    import bytewax.operators as op
    import orjson
    from bytewax.dataflow import Dataflow
    from bytewax.operators import StatefulBatchLogic
    from bytewax.testing import TestingSink, TestingSource, run_main

    class Logic(StatefulBatchLogic[Any, int, Any]):
        def __init__(self) -> None:
            self.job = PlainJob(all_indicators)

        def on_batch(self, values: list[Any]) -> tuple[list[int], bool]:
            before = self.job.bars
            for at_ns, price, size in values:
                self.job.take("", at_ns, price, size)
            return [self.job.bars - before], False

        def on_eof(self) -> tuple[list[int], bool]:
            before = self.job.bars
            self.job.close(1 << 40)
            return [self.job.bars - before], True

        def snapshot(self) -> None:
            return None

    def decode(record: bytes) -> tuple[str, tuple[int, float, float]]:
        said = orjson.loads(record)
        return said["symbol"], (read_time(said["event_ts"]), said["payload"]["p"], said["payload"]["s"])

    def run() -> int:
        found: list[Any] = []
        flow = Dataflow("ta")
        stream = op.input("in", flow, TestingSource(records, batch_size=1000))
        keyed = op.map("decode", stream, decode)
        out = op.stateful_batch("job", keyed, lambda _: Logic())
        op.output("out", out, TestingSink(found))
        run_main(flow)
        return sum(count for _, count in found)

    return run


_FLINK_SOURCE = """
CREATE TABLE trades (
    event_ts STRING, symbol STRING, payload ROW<p DOUBLE, s DOUBLE>,
    ts AS TO_TIMESTAMP(REPLACE(REPLACE(event_ts, 'T', ' '), 'Z', ''), 'yyyy-MM-dd HH:mm:ss.SSSSSS'),
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json')
"""
_FLINK_BARS = """
CREATE TEMPORARY VIEW bars AS
SELECT symbol, window_time, FIRST_VALUE(p) o, MAX(p) h, MIN(p) l, LAST_VALUE(p) c, SUM(s) v, SUM(p * s) ps, COUNT(*) n
FROM TABLE(TUMBLE((SELECT symbol, ts, payload.p AS p, payload.s AS s FROM trades), DESCRIPTOR(ts), INTERVAL '1' SECOND))
GROUP BY symbol, window_start, window_end, window_time
"""
_FLINK_JOB = """
INSERT INTO found
SELECT symbol, c, middle, deviation, SUM(ps) OVER five / SUM(v) OVER five
FROM (
    SELECT symbol, window_time, c, v, ps, AVG(c) OVER twenty AS middle, STDDEV_POP(c) OVER twenty AS deviation
    FROM bars
    WINDOW twenty AS (PARTITION BY symbol ORDER BY window_time ROWS BETWEEN 19 PRECEDING AND CURRENT ROW)
)
WINDOW five AS (PARTITION BY symbol ORDER BY window_time RANGE BETWEEN INTERVAL '5' MINUTE PRECEDING AND CURRENT ROW)
"""


def pyflink(records: Records) -> Callable[[], int]:
    """Flink SQL, a local cluster in a JVM that has run the job once: second bars, Bollinger's two and one VWAP."""
    import tempfile

    from pyflink.table import EnvironmentSettings, TableEnvironment

    folder = Path(tempfile.mkdtemp(prefix="flink-"))

    def job(number: int, values: Records) -> Callable[[], int]:
        source, sink = folder / f"{number}.json", folder / f"{number}.out"
        source.write_bytes(b"\n".join(values))

        def run() -> int:
            environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
            environment.get_config().set("parallelism.default", "1")
            environment.execute_sql(_FLINK_SOURCE.format(path=source))
            environment.execute_sql(_FLINK_BARS)
            environment.execute_sql(
                "CREATE TABLE found (symbol STRING, c DOUBLE, middle DOUBLE, deviation DOUBLE, vwap DOUBLE)"
                f" WITH ('connector' = 'filesystem', 'path' = '{sink}', 'format' = 'csv')"
            )
            environment.execute_sql(_FLINK_JOB).wait()
            return sum(len(part.read_bytes().splitlines()) for part in sink.rglob("*") if part.is_file())

        return run

    job(0, records[:10_000])()  # classes loaded, planner compiled
    return job(1, records)


CASES: dict[str, Callable[[Records], Callable[[], int]]] = {
    "floor": floor,
    "torghut": torghut,
    "torghut_small": torghut_small,
    "plain_msgspec": plain_msgspec,
    "plain_json": plain_json,
    "plain_orjson": plain_orjson,
    "talib": talib_windows,
    "nautilus": nautilus,
    "polars": polars_batch,
    "bytewax": bytewax,
    "pyflink": pyflink,
}


def _tree() -> list[int]:
    """Return this process and what it started."""
    found = [os.getpid()]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def _cpu() -> tuple[float, float]:
    """Return user and system seconds of this process and those it started."""
    user = system = 0
    for pid in _tree():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user, system = user + int(fields[11]), system + int(fields[12])
    tick = os.sysconf("SC_CLK_TCK")
    return user / tick, system / tick


def _peak_mb() -> int:
    lines = "".join(Path(f"/proc/{pid}/status").read_text() for pid in _tree()).splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024


def main(case: str, path: str, repeats: int) -> None:
    """Run one case and print what it took, the best of `repeats`."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    records = Path(path).read_bytes().splitlines()
    run = CASES[case](records)
    best, bars = (float("inf"), 0.0), 0
    for _ in range(repeats):
        gc.collect()
        before = _cpu()
        bars = run()
        after = _cpu()
        best = min(best, (after[0] - before[0], after[1] - before[1]))
    found = {"events": len(records), "bars": bars, "user": best[0], "system": best[1], "peak_mb": _peak_mb()}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
