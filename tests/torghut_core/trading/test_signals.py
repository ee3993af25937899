"""Reading signals: duplicates, revisions, late rows, paging; the SQL on a real ClickHouse in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_values import make_signal
from torghut_core.engines.clickhouse import ClickHouseError, Trouble
from torghut_core.trading.inputs.history import SignalHistory
from torghut_core.trading.inputs.signals import Batch, Cursor, PriceReader, SignalReader

T = 1_767_625_200_000


def _reader(tables: SignalTables, batch_size: int = 100) -> SignalReader:
    return SignalReader(
        tables, table="torghut.ta_signals", overlap_ms=30_000, lookback_ms=900_000, batch_size=batch_size
    )


def _read(reader: SignalReader, cursor: Cursor) -> Batch:
    return reader.read(cursor, symbols=["AAPL", "MSFT"], timeframes=["1Sec"], since_ns=0)


def _events(batch: Batch) -> list[tuple[str, int]]:
    return [(signal.symbol, signal.event_ns // 1_000_000 - T) for signal in batch.signals]


def test_read_when_rows_share_a_time_across_a_page_then_none_is_lost_or_given_twice() -> None:
    """A page that ends between rows of one instant goes on with the rest."""
    tables = SignalTables()
    for event in (0, 1000, 2000):
        for symbol in ("AAPL", "MSFT"):
            tables.add(symbol, T + event, macd=0, rsi14=50, ingest_ms=T + 9000)
    reader, cursor, seen = _reader(tables, batch_size=1), Cursor(), []
    for _ in range(7):
        batch = _read(reader, cursor)
        seen += _events(batch)
        cursor = batch.cursor
    assert sorted(seen) == sorted((symbol, event) for event in (0, 1000, 2000) for symbol in ("AAPL", "MSFT"))
    assert _read(reader, cursor).is_full is False


def test_read_when_a_row_is_written_late_then_it_is_still_given() -> None:
    """A row committed after a later-stamped one, within the overlap, is not lost."""
    tables, reader = SignalTables(), None
    reader = _reader(tables)
    tables.add("AAPL", T + 5000, macd=0, rsi14=50)
    cursor = _read(reader, Cursor()).cursor
    tables.add("MSFT", T + 1000, macd=0, rsi14=50, ingest_ms=T + 4000)
    late = _read(reader, cursor)
    assert _events(late) == [("MSFT", 1000)]
    assert late.cursor == cursor


@pytest.mark.parametrize("behind_ms", [29_000, 31_000, 600_000, 899_000])
def test_read_when_a_row_is_written_far_behind_the_watermark_then_it_is_given_once(behind_ms: int) -> None:
    """Within the overlap by the next read, further back by the look at the whole lookback; in any case once."""
    tables = SignalTables()
    tables.add("AAPL", T, macd=0, rsi14=50, ingest_ms=T + 1_000_000)
    reader = _reader(tables)
    cursor = _read(reader, Cursor()).cursor
    tables.add("MSFT", T, macd=0, rsi14=50, ingest_ms=T + 1_000_000 - behind_ms)

    def look() -> list[tuple[str, int]]:
        late = reader.read_late(cursor, symbols=["AAPL", "MSFT"], timeframes=["1Sec"], since_ns=0)
        assert late.cursor == cursor
        return _events(_read(reader, cursor)) + _events(late)

    assert [look(), look()] == [[("MSFT", 0)], []]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("close", None),
        ("close", float("nan")),
        ("close", float("inf")),
        ("close", 0.0),
        ("close", "12"),
        ("close", 1e30),
        ("rsi14", float("nan")),
        ("macd", "1.0"),
        ("macd_signal", float("-inf")),
        ("macd", True),
        ("seq", None),
        ("seq", -1),
        ("seq", 2**64),
        ("warm", 7),
        ("vol_realized_w60s", -1.0),
    ],
)
def test_read_when_a_row_holds_what_no_signal_can_then_it_alone_is_left_out_and_counted(
    column: str, value: object
) -> None:
    """One bad row neither ends the process nor comes back, and the cursor passes it."""
    tables, skipped = SignalTables(), list[str]()
    tables.add("AAPL", T, macd=0, rsi14=50)
    tables.add("AAPL", T + 1000, macd=0, rsi14=50)
    tables.add("AAPL", T + 2000, macd=0, rsi14=50)
    tables.signals[1][column] = value
    reader = SignalReader(
        tables,
        table="torghut.ta_signals",
        overlap_ms=30_000,
        lookback_ms=900_000,
        batch_size=100,
        on_bad_row=skipped.append,
    )
    batch = _read(reader, Cursor())
    assert _events(batch) == [("AAPL", 0), ("AAPL", 2000)]
    assert (skipped, batch.cursor.ingest_ms) == ([f"bad_{column}"], T + 2000)
    assert (_events(_read(reader, batch.cursor)), skipped) == ([], [f"bad_{column}"])


@pytest.mark.parametrize("quoted", [None, float("nan"), float("inf"), 0.0, -1.0, "99"])
def test_read_when_a_quote_is_no_price_then_the_row_stays_without_it(quoted: object) -> None:
    """Indicators are used though the quote is not."""
    tables = SignalTables()
    tables.add("AAPL", T, macd=0, rsi14=50)
    tables.signals[0]["imbalance_ask_px"] = quoted
    [signal] = _read(_reader(tables), Cursor()).signals
    assert (signal.bid, signal.ask) == (99.99, None)


def test_read_when_nothing_is_new_then_cursor_stays() -> None:
    """An empty poll never moves or wipes the composite cursor."""
    tables = SignalTables()
    tables.add("AAPL", T, macd=0, rsi14=50)
    reader = _reader(tables)
    cursor = _read(reader, Cursor()).cursor
    assert _read(reader, cursor).cursor == cursor == Cursor(ingest_ms=T, seq=T // 1000, symbol="AAPL")


def test_read_when_a_row_is_revised_then_newest_version_once_and_again_when_revised_later() -> None:
    """Duplicates in one read come down to the newest; a later revision is given again."""
    tables = SignalTables()
    tables.add("AAPL", T, macd=1, rsi14=50, ingest_ms=T + 1)
    tables.add("AAPL", T, macd=2, rsi14=50, ingest_ms=T + 2)
    tables.add("AAPL", T, macd=2, rsi14=50, ingest_ms=T + 2)
    reader = _reader(tables)
    first = _read(reader, Cursor())
    tables.add("AAPL", T, macd=3, rsi14=50, ingest_ms=T + 3)
    second = _read(reader, first.cursor)
    assert ([s.macd for s in first.signals], [s.macd for s in second.signals]) == ([2], [3])


def test_read_when_table_is_missing_then_no_signals_yet() -> None:
    """The TA runtime makes the tables; any other trouble is an error."""
    tables = SignalTables()
    tables.trouble = Trouble.MISSING
    assert _read(_reader(tables), Cursor()).signals == ()
    tables.trouble = Trouble.MEMORY
    with pytest.raises(ClickHouseError):
        _read(_reader(tables), Cursor())


def test_prices_when_close_is_no_price_then_symbol_is_left_out() -> None:
    """Zero is a value, not a price."""
    tables = SignalTables()
    tables.prices = {"AAPL": 0.0, "MSFT": 10.25}
    prices = PriceReader(tables, table="torghut.ta_microbars").prices(["AAPL", "MSFT"], since_ns=0, until_ns=1)
    assert prices == {"MSFT": Decimal("10.25")}


def test_history_when_signals_come_in_any_order_then_windows_are_in_time_order() -> None:
    """A late bar's window holds only what is before it; a revision replaces; older versions do not."""
    history = SignalHistory(bars=3)
    history.add([make_signal(event_ns=3, macd=3.0), make_signal(event_ns=1, macd=1.0)])
    [window] = history.add([make_signal(event_ns=2, macd=2.0)])
    assert [signal.macd for signal in window] == [1.0, 2.0]
    [revised] = history.add([make_signal(event_ns=3, macd=9.0, ingest_ms=10**15)])
    assert [signal.macd for signal in revised] == [1.0, 2.0, 9.0]
    [kept] = history.add([make_signal(event_ns=3, macd=0.0, ingest_ms=0)])
    assert kept[-1].macd == 9.0
    history.add([make_signal(event_ns=4)])
    assert history.add([make_signal(event_ns=1)]) == []


_SQL = """
import datetime as d, json, sys
from torghut_core.engines.clickhouse import Address, open_clickhouse
from torghut_core.trading.inputs.signals import Cursor, PriceReader, SignalReader
ch = open_clickhouse(Address(url="embedded:" + sys.argv[1]))
reader = SignalReader(ch, table="torghut.ta_signals", overlap_ms=30000, lookback_ms=900000, batch_size=3)
def read(cursor, since):
    b = reader.read(cursor, symbols=["AAPL", "it's"], timeframes=["1Sec"], since_ns=since)
    return b, [[s.symbol, s.event_ns, s.macd, s.is_warm, s.rsi14] for s in b.signals]
out = {"missing": read(Cursor(), 0)[1]}
base = ("symbol LowCardinality(String), event_ts DateTime64(3,'UTC'), seq UInt64, ingest_ts DateTime64(3,'UTC'),"
        " is_final UInt8, window_size LowCardinality(String), ")
end = " ENGINE = ReplacingMergeTree(ingest_ts) PARTITION BY toDate(event_ts) ORDER BY (symbol, window_size, event_ts)"
ch.command("CREATE DATABASE torghut")
ch.command("CREATE TABLE torghut.ta_signals (" + base + "macd Nullable(Float64), macd_signal Nullable(Float64),"
           " rsi14 Nullable(Float64), vol_realized_w60s Nullable(Float64), close Float64, warm UInt8, imbalance_bid_px Nullable(Float64), imbalance_ask_px Nullable(Float64), "
           + ", ".join(c + " Nullable(Float64)" for c in ("macd_hist", "ema12", "ema26", "boll_mid", "boll_upper", "boll_lower",
           "vwap_session", "vwap_w5m", "imbalance_spread", "imbalance_bid_sz", "imbalance_ask_sz", "imbalance_ratio")) + ")" + end)
ch.command("CREATE TABLE torghut.ta_microbars (" + base + "c Float64, vwap Nullable(Float64))" + end)
ch.command("SYSTEM STOP MERGES")  # duplicates must still be there when they are read
t0 = d.datetime(2026, 1, 5, 15, 0, 0, tzinfo=d.UTC)
def at(ms): return "fromUnixTimestamp64Milli(%d, 'UTC')" % (int(t0.timestamp()) * 1000 + ms)
def put(table, **columns):
    symbol = columns.pop("symbol")
    ch.command("INSERT INTO torghut.%s (symbol, %s) SELECT {symbol:String}, %s"
               % (table, ", ".join(columns), ", ".join(map(str, columns.values()))), {"symbol": symbol})
def signal(symbol, event, ingest, macd, size="PT1S", final=1):
    put("ta_signals", symbol=symbol, event_ts=at(event), seq=1, ingest_ts=at(ingest), is_final=final,
        window_size="'%s'" % size, macd=macd, macd_signal=0.0, rsi14="NULL", close=1.0, warm=1)
signal("AAPL", 0, 10, 1.0); signal("AAPL", 0, 11, 2.0); signal("it's", 1000, 1001, 3.0)
signal("AAPL", 1000, 1002, 4.0, size="PT1M"); signal("AAPL", 2000, 2001, 5.0, final=0); signal("TSLA", 0, 1, 6.0)
signal("AAPL", 3000, 3001, 7.0)
ns = int(t0.timestamp()) * 10**9
b1, out["first"] = read(Cursor(), ns)
b2, out["second"] = read(b1.cursor, ns)
out["since"] = read(Cursor(), ns + 3 * 10**9)[1]
out["full"] = [b1.is_full, b2.is_full]
out["history"] = [[s.symbol, s.macd] for s in
                  reader.history(b2.cursor, symbols=["AAPL", "it's"], timeframes=["1Sec"], since_ns=ns, bars=1)]
for event, ingest, c in ((0, 1, 10.0), (1000, 1001, 11.0), (1000, 1002, 11.5), (9000, 9001, 99.0)):
    put("ta_microbars", symbol="AAPL", event_ts=at(event), seq=1, ingest_ts=at(ingest), is_final=1,
        window_size="'PT1S'", c=c, vwap="NULL")
prices = PriceReader(ch, table="torghut.ta_microbars")
out["price"] = [str(p) for p in prices.prices(["AAPL", "MSFT"], since_ns=ns, until_ns=ns + 5 * 10**9).values()]
from torghut_core.trading.review.promotion import _COUNT_SIGNALS
window = {"database": "torghut", "table": "ta_signals", "since": ns // 10**6, "until": ns // 10**6 + 3000}
out["counted"] = ch.query(_COUNT_SIGNALS, window)[0]["signals"]
signal("AAPL", 40000, 60000, 8.0)
b3, _ = read(b2.cursor, ns)
out["window"] = [[s.event_ns - ns, s.macd] for s in reader.window(b3.signals[0], since_ns=ns, bars=2)]
out["window since"] = [s.macd for s in reader.window(b3.signals[0], since_ns=ns + 4 * 10**9, bars=2)]
signal("MSFT", 28000, 29000, 9.0)
late = lambda: [[s.symbol, s.macd] for s in reader.read_late(
    b3.cursor, symbols=["AAPL", "it's", "MSFT"], timeframes=["1Sec"], since_ns=ns).signals]
out["late"] = [late(), late()]
ch.close()
print(json.dumps(out))
"""


@pytest.mark.engine
def test_statements_when_run_on_clickhouse_then_rows_as_wanted(tmp_path: Path) -> None:
    """The SQL itself: filters, order, versions, quoting, and the newest price not after now."""
    done = subprocess.run(
        [sys.executable, "-c", _SQL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    out = json.loads(done.stdout)
    ns = T * 1_000_000
    assert out == {
        "missing": [],
        "window": [[3 * 10**9, 7.0], [40 * 10**9, 8.0]],
        "window since": [8.0],
        "first": [["AAPL", ns, 2.0, True, None], ["it's", ns + 10**9, 3.0, True, None]],
        "second": [["AAPL", ns + 3 * 10**9, 7.0, True, None]],
        "since": [],
        "full": [True, False],
        "history": [["it's", 3.0], ["AAPL", 7.0]],
        "price": ["11.5"],
        "counted": 5,
        "late": [[["MSFT", 9.0]], []],
    }
