"""`make soak`: a recorded day through Apache Kafka with twenty kills. RECORDED_DAY names the file (Alpaca messages)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fakes import apache_kafka
from tests.fakes.recordings import recorded_day, records_of
from tests.fakes.ta_process import Outputs, TaProcess, differences, expected_rows, produce
from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.ta.engine.engine import EngineSettings

pytestmark = [pytest.mark.soak, pytest.mark.kafka, pytest.mark.engine, pytest.mark.timeout(3600)]


async def test_ta_when_killed_twenty_times_over_a_recorded_day_then_no_row_differs(tmp_path: Path) -> None:
    """Kafka (read_committed, last per key) and ClickHouse FINAL equal the engine's own rows, but for ingest_ts."""
    recorded = recorded_day()
    if not recorded:
        pytest.skip("no recorded day: RECORDED_DAY=day.ndjson.gz make soak")
    records = records_of(Path(recorded))
    expected = expected_rows(records, EngineSettings(max_out_of_order_ms=1000))
    chance = random.Random(20)
    with apache_kafka.running(tmp_path / "kafka") as broker:
        kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))
        await produce(kafka, records)
        outputs = await Outputs(kafka).start()
        process = TaProcess(tmp_path, broker.bootstrap)
        try:
            for number in range(20):
                process.start()
                enough = int(len(expected) * min(0.99, (number + chance.random()) / 20))
                await outputs.until(lambda enough=enough: len(outputs.rows) >= enough, 300, [process])
                process.kill()
            process.start()
            await outputs.until(lambda: len(outputs.rows) >= len(expected) and process.is_caught_up, 600, [process])
            await outputs.settle()
            assert process.end() == 0
            await outputs.settle()
            print(f"20 kills, {len(records)} records in, {outputs.count} records out for {len(expected)} keys")
            assert outputs.count == len(expected)  # not one record twice
            assert differences(expected, outputs.rows) == []
            assert differences(expected, process.rows_in_clickhouse()) == []
        finally:
            process.kill()
            await outputs.close()
