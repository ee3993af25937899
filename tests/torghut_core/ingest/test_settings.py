"""Every variable's rule shows its message; the shipped manifest's environment starts the runtime."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.fakes.forwarding import MARKET, environment
from tests.fakes.ports import free_ports
from torghut_core.errors import ConfigurationError
from torghut_core.ingest import service
from torghut_core.ingest.settings import IngestSettings
from torghut_core.settings import known_variables, load
from torghut_core.simulator import process as simulator

_ROOT = Path(__file__).resolve().parents[3]
_BASE = {
    "ALPACA_KEY_ID": "k", "ALPACA_SECRET_KEY": "s", "SYMBOLS": "AAPL", "ALPACA_STREAM_URL": "ws://127.0.0.1:1",
    "KAFKA_SASL_PASSWORD": "p",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ALPACA_KEY_ID": ""}, "ALPACA_KEY_ID: must be set"),
        ({"ALPACA_SECRET_KEY": ""}, "ALPACA_SECRET_KEY: must be set"),
        ({"ALPACA_FEED": "bogus"}, "ALPACA_FEED='bogus': must be 'iex', 'sip', 'delayed_sip' or 'overnight'"),
        ({"ALPACA_FEED": "test"}, "ALPACA_FEED='test': must be"),
        ({"ALPACA_STREAM_URL": "http://x"}, "ALPACA_STREAM_URL='http://x': must be ws(s)://HOST[:PORT]"),
        ({"ALPACA_STREAM_URL": "wss://x/v2/iex"}, "must be ws(s)://HOST[:PORT], without path or credentials"),
        ({"ALPACA_BASE_URL": "ftp://x"}, "ALPACA_BASE_URL='ftp://x': must be http(s)://HOST"),
        ({"JANGAR_SYMBOLS_URL": "x"}, "JANGAR_SYMBOLS_URL='x': must be http(s)://HOST"),
        ({"ALPACA_TRADE_STREAM_URL": "x"}, "ALPACA_TRADE_STREAM_URL='x': must be ws(s)://HOST[:PORT]/PATH"),
        ({"ALPACA_CODEC": "xml"}, "ALPACA_CODEC='xml': must be 'msgpack' or 'json'"),
        ({"ALPACA_MAX_SYMBOLS": "1"}, "ALPACA_MAX_SYMBOLS='1': must be greater than or equal to 2"),
        ({"SYMBOLS": ""}, "SYMBOLS, JANGAR_SYMBOLS_URL: at least one must be set"),
        ({"SYMBOLS": "AAPL,$$$"}, "SYMBOLS='AAPL,$$$': '$$$' is not a symbol"),
        ({"SYMBOLS_POLL_INTERVAL_MS": "0"}, "SYMBOLS_POLL_INTERVAL_MS='0': must be greater than 0"),
        ({"SUBSCRIBE_BATCH_SIZE": "many"}, "SUBSCRIBE_BATCH_SIZE='many': must be a valid integer"),
        ({"SHARD_COUNT": "0"}, "SHARD_COUNT='0': must be greater than 0"),
        ({"SHARD_INDEX": "-1"}, "SHARD_INDEX='-1': must be greater than or equal to 0"),
        ({"SHARD_INDEX": "2", "SHARD_COUNT": "2"}, "SHARD_INDEX=2: must be below SHARD_COUNT=2"),
        ({"ENABLE_BARS_BACKFILL": "perhaps"}, "ENABLE_BARS_BACKFILL='perhaps': must be a valid boolean"),
        ({"ENABLE_TRADES_BACKFILL": "2"}, "ENABLE_TRADES_BACKFILL='2': must be a valid boolean"),
        ({"BARS_BACKFILL_LOOKBACK_HOURS": "0"}, "BARS_BACKFILL_LOOKBACK_HOURS='0': must be greater than 0"),
        ({"TRADES_BACKFILL_LOOKBACK_HOURS": "x"}, "TRADES_BACKFILL_LOOKBACK_HOURS='x': must be a valid number"),
        ({"TRADES_BACKFILL_MAX_RECORDS": "250001"}, "must be less than or equal to 250000"),
        ({"ENABLE_TRADE_UPDATES": "true"}, "ALPACA_TRADE_STREAM_URL: must be set when ENABLE_TRADE_UPDATES is true"),
        (
            {"ENABLE_TRADE_UPDATES": "true", "ALPACA_TRADE_STREAM_URL": "wss://x/stream"},
            "TOPIC_TRADE_UPDATES: must be set when ENABLE_TRADE_UPDATES is true",
        ),
        ({"RECONNECT_BASE_MS": "0"}, "RECONNECT_BASE_MS='0': must be greater than 0"),
        ({"RECONNECT_MAX_MS": "1"}, "RECONNECT_MAX_MS=1: must be at least RECONNECT_BASE_MS"),
        ({"RECONNECT_REFUSED_MS": "0"}, "RECONNECT_REFUSED_MS='0': must be greater than 0"),
        ({"DEDUP_TTL_SEC": "0"}, "DEDUP_TTL_SEC='0': must be greater than 0"),
        ({"DEDUP_MAX_ENTRIES": "0"}, "DEDUP_MAX_ENTRIES='0': must be greater than 0"),
        ({"ALPACA_MARKET_DATA_READ_IDLE_TIMEOUT_MS": "60000"}, "must be less than or equal to 30000"),
        ({"HEALTH_NOT_READY_KILL_AFTER_MS": "1"}, "must be greater than or equal to 1000"),
        ({"HEALTH_PORT": "70000"}, "HEALTH_PORT='70000': must be less than or equal to 65535"),
        ({"METRICS_PORT": "-1"}, "METRICS_PORT='-1': must be greater than or equal to 0"),
        ({"TOPIC_TRADES": "no such name"}, "TOPIC_TRADES='no such name': must be a topic's name"),
        ({"TOPIC_TRADES": "torghut.quotes.v1"}, "TOPIC_STATUS, TOPIC_TRADE_UPDATES: must differ"),
        ({"KAFKA_LINGER_MS": "-1"}, "KAFKA_LINGER_MS='-1': must be greater than or equal to 0"),
        ({"KAFKA_BATCH_SIZE": "1"}, "KAFKA_BATCH_SIZE='1': must be greater than or equal to 1024"),
        ({"KAFKA_BUFFER_MEMORY_BYTES": "1"}, "KAFKA_BUFFER_MEMORY_BYTES='1': must be greater"),
        ({"KAFKA_MAX_REQUEST_SIZE_BYTES": "1"}, "KAFKA_MAX_REQUEST_SIZE_BYTES='1': must be greater"),
        (
            {"KAFKA_MAX_REQUEST_SIZE_BYTES": "2097152", "KAFKA_BUFFER_MEMORY_BYTES": "1048576"},
            "KAFKA_MAX_REQUEST_SIZE_BYTES: must be at most KAFKA_BUFFER_MEMORY_BYTES",
        ),
        ({"KAFKA_COMPRESSION": "snappy"}, "KAFKA_COMPRESSION='snappy': must be 'lz4', 'gzip' or 'none'"),
        ({"KAFKA_ACKS": "1"}, "KAFKA_ACKS='1': must be 'all'"),
        ({"KAFKA_REQUEST_TIMEOUT_MS": "1"}, "KAFKA_REQUEST_TIMEOUT_MS='1': must be greater"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL='TLS': must be 'PLAINTEXT'"),
        ({"KAFKA_SASL_MECH": "GSSAPI"}, "KAFKA_SASL_MECH='GSSAPI': must be 'PLAIN'"),
        ({"KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD: must be set when KAFKA_SECURITY_PROTOCOL is SASL_SSL"),
        ({"KAFKA_SSL_CA_FILE": "/no/such.pem"}, "KAFKA_SSL_CA_FILE='/no/such.pem': must be a file that can be read"),
        ({"KAFKA_TRUSTSTORE_PATH": "/etc/hosts"}, "KAFKA_TRUSTSTORE_PATH='/etc/hosts': must be a PEM file"),
        ({"TORGHUT_MARKET_CALENDAR": "NYSE"}, "TORGHUT_MARKET_CALENDAR='NYSE': must be"),
    ],
)
def test_settings_when_wrong_then_variable_value_and_rule(changes: dict[str, str], words: str) -> None:
    """Start-up stops with one sentence, and no secret is in it."""
    with pytest.raises(ConfigurationError) as caught:
        load(IngestSettings, _BASE | changes)
    assert words in str(caught.value)
    assert "'p'" not in str(caught.value)


def test_ca_file_when_named_then_it_reaches_the_client(tmp_path: Path) -> None:
    """Under its own name, and under the older one."""
    pem = tmp_path / "ca.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\n")
    for name in ("KAFKA_SSL_CA_FILE", "KAFKA_TRUSTSTORE_PATH"):
        address = service.kafka_address(load(IngestSettings, _BASE | {name: str(pem)}))
        assert (address.security.ca_file, address.security.protocol) == (str(pem), "SASL_SSL")


def _shipped() -> dict[str, str]:
    config = yaml.safe_load((_ROOT / "manifests" / "ws" / "configmap.yaml").read_text())["data"]
    return {**config, "ALPACA_KEY_ID": "k", "ALPACA_SECRET_KEY": "s", "KAFKA_SASL_PASSWORD": "p"}


def test_manifest_when_loaded_then_every_variable_is_known_and_valid() -> None:
    """What is shipped is what the runtime reads."""
    shipped = _shipped()
    assert load(IngestSettings, shipped).enable_bars_backfill is True
    assert set(shipped) - known_variables(IngestSettings) == set()


@pytest.mark.slow
def test_run_ws_when_started_with_the_manifests_environment_then_it_serves_and_ends_on_sigterm(
    tmp_path: Path,
) -> None:
    """The command as a pod runs it, against a simulator and an embedded log: ready, then 0 on SIGTERM."""
    with simulator.running(tmp_path, MARKET) as market:
        here = environment(market, tmp_path / "kafka")
        given = _shipped() | here | {"HEALTH_PORT": "0", "METRICS_PORT": "0", "TORGHUT_HTTP_HOST": "127.0.0.1"}
        given.pop("JANGAR_SYMBOLS_URL")
        [port] = free_ports(1)
        given |= {"HEALTH_PORT": str(port), "METRICS_PORT": str(port), "PATH": os.environ["PATH"]}
        process = subprocess.Popen([sys.executable, "-m", "torghutctl", "run", "ws"], env=given, cwd=_ROOT)
        try:
            _until_ready(f"http://127.0.0.1:{port}", process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                text = answer.read().decode()
            for line in (
                "# TYPE torghut_ws_reconnects_total counter",
                "# TYPE torghut_ws_kafka_produce_success_total counter",
                "# TYPE torghut_ws_lag_ms histogram",
                "# TYPE torghut_ws_kafka_send_latency histogram",
                "# TYPE torghut_ws_readyz_status gauge",
                "torghut_ws_readyz_status 1.0",
            ):
                assert line in text
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert market.state()["connections"]["slot"] == "nobody"
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("not ready within 60 s")
