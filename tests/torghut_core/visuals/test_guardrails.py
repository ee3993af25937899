"""The TA reader, the cache and the guardrail gauges on the real engine, and the gauges while it is away."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from tests.fakes.visuals_client import Rows
from torghut_core.clock import ManualClock
from torghut_core.engines.clickhouse import ClickHouse, ClickHouseError, Trouble
from torghut_core.errors import ConfigurationError
from torghut_core.settings import load
from torghut_core.visuals.guardrails import Gauges, Guardrails, registry_of, scrape_all
from torghut_core.visuals.settings import GuardrailsSettings

_GUARDRAILS = """
import sys; sys.path.insert(0, {root!r})
from datetime import datetime, timedelta, UTC
from torghut_core.clock import ManualClock
from torghut_core.engines.clickhouse import Address, open_clickhouse
from torghut_core.ta.outputs.clickhouse_sink import SchemaOptions, create_schema
from torghut_core.visuals.guardrails import Guardrails
from torghut_core.visuals.newest import NewestRows
from torghut_core.visuals.rows import Series
from torghut_core.visuals.ta_reader import TaReader
c = open_clickhouse(Address(url="embedded:{folder}"))
clock = ManualClock(5_000_000_000)
g = Guardrails(clickhouse=c, clock=clock, replica="r", data_path="/")
g.scrape()
assert "ta_signals_max_event_ts_seconds" not in g.figures, g.figures
create_schema(c, SchemaOptions(cluster=None, is_simulated=True))
for ingest, close in ((1, 10.0), (2, 11.0)):
    c.command("INSERT INTO torghut.ta_microbars (symbol, event_ts, ingest_ts, window_size, c)"
              f" VALUES ('A', '2026-01-05 14:30:0{{ingest}}', fromUnixTimestamp64Milli({{ingest}}), 'PT1S', {{close}})")
c.command("INSERT INTO torghut.ta_microbars (symbol, event_ts, ingest_ts, window_size, c)"
          " VALUES ('A', '2026-01-05 14:30:02', fromUnixTimestamp64Milli(9), 'PT1S', 12)")
g.scrape()
assert g.figures["ta_microbars_max_window_end_seconds"] == 1767623402.0, g.figures
assert (g.figures["last_scrape_success"], g.figures["any_replica_readonly"]) == (1.0, 0.0)
assert 0 < g.figures["disk_free_ratio"] < 1
assert "minute_volume_ratio" not in g.figures, g.figures
def row(symbol, size, at, v, ingest=1):
    c.command("INSERT INTO torghut.ta_microbars (symbol, event_ts, ingest_ts, window_size, v) VALUES"
              f" ('{{symbol}}', '2026-01-06 {{at}}', fromUnixTimestamp64Milli({{ingest}}), '{{size}}', {{v}})")
row("A", "PT1M", "14:40:00", 100, 1); row("A", "PT1M", "14:40:00", 200, 2)  # rewritten
row("A", "PT1S", "14:39:01", 60, 1); row("A", "PT1S", "14:39:01", 80, 2); row("A", "PT1S", "14:40:00", 40)
row("B", "PT1M", "14:39:00", 40)  # and nothing of our own
row("C", "PT1S", "14:39:30", 1000)  # no minute bar to compare with
for at in ("14:37:30", "14:38:30", "14:40:30"):
    row("C", "PT1S", at, 1)  # seconds came in these minutes, and in those beside them
row("A", "PT1M", "14:34:00", 900)  # of an outage, or from before the start: nobody's seconds came
row("A", "PT1M", "14:38:00", 900)  # the first minute in which seconds came, and not from its beginning
row("A", "PT1M", "14:41:00", 500)  # the newest: seconds of it may be on their way
row("A", "PT1M", "14:29:00", 500)  # older than ten minutes
clock.advance(16)
g.scrape()
assert g.figures["minute_volume_ratio"] == 120 / 240, g.figures
late = Guardrails(clickhouse=c, clock=ManualClock(1767713000 * 10**9), replica="r", data_path="/")
late.scrape()
assert "minute_volume_ratio" not in late.figures, late.figures
c.command("DELETE FROM torghut.ta_microbars WHERE event_ts > '2026-01-06 00:00:00'")
r = TaReader(c)
bars = Series("bars", "A", "PT1S")
assert r.latest(bars)["c"] == 12.0
n = NewestRows(r, lambda: 1.0)
assert n.refresh() == [] and n.latest(bars)["c"] == 12.0
c.command("INSERT INTO torghut.ta_microbars (symbol, event_ts, ingest_ts, window_size, c)"
          " VALUES ('A', '2026-01-05 14:31:00', fromUnixTimestamp64Milli(10), 'PT1M', 99)")
assert [x.row["c"] for x in n.refresh()] == [99.0]
assert n.latest(bars)["c"] == 12.0 and r.latest(bars)["c"] == 12.0
at = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
rows = r.between(bars, at, at + timedelta(minutes=1), 10)
assert [row["c"] for row in rows] == [10.0, 12.0], rows
assert rows[0] == {{**r.latest(bars), **rows[0]}} and rows[1] == r.latest(bars), rows
assert (rows[0]["event_ts"], rows[0]["window_start"]) == ("2026-01-05T14:30:01.000Z", None), rows
old, effective, fallback = r.within(bars, at + timedelta(days=1), at + timedelta(days=1, minutes=1), 10)
assert fallback and len(old) == 2, (old, effective)
c.close()
print("ok")
"""


@pytest.mark.engine
def test_reader_and_guardrails_when_rows_are_doubled_then_the_newest_counts(tmp_path: Path) -> None:
    """Duplicates are resolved by ingest time; gauges of rows that do not exist are absent; a fallback is said."""
    root = str(Path(__file__).resolve().parents[3])
    code = _GUARDRAILS.format(root=root, folder=tmp_path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr[-600:]) == ("ok", "")


def test_guardrails_when_clickhouse_is_away_then_only_that_is_said() -> None:
    """A figure that is not known is not shown as one."""
    failing: ClickHouse = Rows(ClickHouseError(Trouble.REFUSED, "a query"))  # type: ignore[assignment]
    guardrails = Guardrails(clickhouse=failing, clock=ManualClock(5_000_000_000), replica="r")
    guardrails.scrape()
    assert guardrails.figures == {"clickhouse_up": 0.0, "last_scrape_success": 0.0, "last_scrape_ts_seconds": 5.0}
    assert next(iter(Gauges([guardrails]).collect())).name == "torghut_clickhouse_guardrails_clickhouse_up"


def test_guardrails_when_one_of_two_replicas_is_away_then_each_has_gauges_of_its_own() -> None:
    """One exporter for all replicas: a family stands once, and what is known of one is not said of the other."""
    away: ClickHouse = Rows(ClickHouseError(Trouble.REFUSED, "a query"))  # type: ignore[assignment]
    clock = ManualClock(5_000_000_000)
    replicas = [
        Guardrails(clickhouse=_OneProbeFails("none"), clock=clock, replica="chi-0-0"),
        Guardrails(clickhouse=away, clock=clock, replica="chi-0-1"),
    ]
    asyncio.run(scrape_all(replicas))
    lines = generate_latest(registry_of(*replicas)).decode().splitlines()
    prefix = "torghut_clickhouse_guardrails_"
    assert lines.count(f"# TYPE {prefix}clickhouse_up gauge") == 1
    assert {f'{prefix}clickhouse_up{{replica="chi-0-{n}"}} {1 - n}.0' for n in (0, 1)} <= set(lines)
    free = [line for line in lines if line.startswith(f"{prefix}disk_free_ratio")]
    assert free == [f'{prefix}disk_free_ratio{{replica="chi-0-0"}} 0.25']


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a=http://one:8123,a=http://two:8123", "a stands twice"),
        ("a=http://one:8123,b=http://one:8123", "b stands twice"),
        ("a", "'a' must be NAME=URL"),
        ("a=embedded:folder", "'a' must be NAME=URL"),
        ("a b=http://one:8123", "'a b' must be NAME=URL"),
        ("a=http://user:secret@one:8123", "'a' must be NAME=URL"),
    ],
)
def test_replicas_when_an_entry_is_wrong_then_it_is_named_and_no_password_is_shown(value: str, said: str) -> None:
    """The entry's name and the rule; the password has a variable of its own."""
    with pytest.raises(ConfigurationError, match=said) as refused:
        load(GuardrailsSettings, {"GUARDRAILS_REPLICAS": value}).addresses()
    assert "secret" not in str(refused.value)


class _OneProbeFails:
    """ClickHouse in which one table's query runs out of memory."""

    def __init__(self, table: str) -> None:
        self._table = table

    def query(self, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
        if self._table in statement:
            raise ClickHouseError(Trouble.MEMORY, "a query")
        if "system.replicas" in statement:
            return [{"readonly": 0}]
        if "system.disks" in statement:
            return [{"free_space": 25, "total_space": 100}]
        if "all_own" in statement:
            return [{"all_own": 0, "all_theirs": 0}]
        return [{"newest": 7000, "rows": 3}]


def test_guardrails_when_one_probe_fails_then_the_others_stay_and_it_is_not_no_data() -> None:
    """A query out of memory costs its own gauge; it is told apart from an empty table, and nothing old is shown for it."""
    guardrails = Guardrails(clickhouse=_OneProbeFails("none"), clock=ManualClock(5_000_000_000), replica="r")
    guardrails.scrape()
    assert guardrails.figures["ta_signals_max_event_ts_seconds"] == 7.0
    assert guardrails.figures["last_scrape_success"] == 1.0
    guardrails.clickhouse = _OneProbeFails("ta_signals")
    guardrails.scrape()
    assert guardrails.figures == {
        "disk_free_bytes": 25.0,
        "disk_total_bytes": 100.0,
        "disk_free_ratio": 0.25,
        "any_replica_readonly": 0.0,
        "ta_microbars_max_window_end_seconds": 7.0,
        "clickhouse_up": 1.0,
        "last_scrape_success": 0.0,
        "last_scrape_ts_seconds": 5.0,
    }
    assert guardrails.probes == {"disk": 1.0, "readonly": 1.0, "signals": 0.0, "microbars": 1.0, "completeness": 1.0}
    lines = generate_latest(registry_of(guardrails)).decode().splitlines()
    assert 'torghut_clickhouse_guardrails_probe_success{probe="signals",replica="r"} 0.0' in lines


def test_guardrails_when_a_table_is_missing_then_that_is_known_to_be_no_row() -> None:
    """Before the TA made its tables nothing has failed."""
    missing = Rows(ClickHouseError(Trouble.MISSING, "a query"))
    guardrails = Guardrails(clickhouse=missing, clock=ManualClock(5_000_000_000), replica="r", data_path="/")
    guardrails.scrape()
    assert (guardrails.probes["signals"], guardrails.probes["readonly"]) == (1.0, 0.0)
