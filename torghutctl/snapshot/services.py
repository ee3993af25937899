"""What is kept of the services' own answers: readiness, trading status, symbols, latest rows, gauges, Flink's REST."""

from __future__ import annotations

import math
import re
from typing import Any

from torghut_core.engines.clickhouse import Trouble
from torghut_core.rfc3339 import format_ns, parse_ns
from torghutctl.adapters.http_client import Answer
from torghutctl.snapshot import kept
from torghutctl.snapshot.http import ReadError, mapping, parse_json, refuse_status, service_answer
from torghutctl.snapshot.model import Failure

ERROR_CLASSES = (
    "alpaca_406_second_connection",
    "alpaca_auth",
    "alpaca_config",
    "alpaca_slow_client",
    "alpaca_symbol_limit",
    "feed_silent",
    "kafka_auth",
    "kafka_metadata",
    "kafka_produce",
    "unknown",
)
TA_REASONS = tuple(
    sorted(
        [
            *(trouble.value for trouble in Trouble),
            "checkpoint_store",
            "clickhouse_backlog",
            "clickhouse_schema",
            "clickhouse_schema_pending",
            "kafka_auth",
            "kafka_fenced",
            "kafka_metadata",
            "kafka_produce",
            "no_partitions",
            "starting",
        ]
    )
)
_NOT_READY = frozenset({503})
_MODES = ("paper", "live", "dry-run")
_SYMBOL = re.compile(r"[A-Z0-9._:-]{1,32}")
_GAUGE = re.compile(
    r"torghut_clickhouse_guardrails_(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?", re.ASCII
)
_REPLICA = re.compile(r'replica="([\w.:-]{1,128})"', re.ASCII)
GAUGES = frozenset(
    {
        "clickhouse_up",
        "disk_free_bytes",
        "disk_total_bytes",
        "disk_free_ratio",
        "any_replica_readonly",
        "minute_volume_ratio",
        "ta_signals_max_event_ts_seconds",
        "ta_microbars_max_window_end_seconds",
        "last_scrape_success",
        "last_scrape_ts_seconds",
    }
)
_LAST_SECOND = 253_402_300_799.0
_RANGES = {
    "clickhouse_up": (0.0, 1.0),
    "disk_free_ratio": (0.0, 1.0),
    "last_scrape_success": (0.0, 1.0),
    "ta_signals_max_event_ts_seconds": (0.0, _LAST_SECOND),
    "ta_microbars_max_window_end_seconds": (0.0, _LAST_SECOND),
    "last_scrape_ts_seconds": (0.0, _LAST_SECOND),
}
_COUNTERS = (
    "decisions_total",
    "orders_submitted_total",
    "orders_rejected_total",
    "reconcile_updates_total",
    "llm_requests_total",
    "llm_veto_total",
    "llm_error_total",
    "llm_circuit_open_total",
)


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ReadError(Failure.UNPARSABLE, what)


def forwarder_ready(answer: Answer) -> dict[str, Any]:
    """Return the forwarder's `/readyz`: 200 or 503, readiness, error class and gates."""
    body = service_answer(answer, also=_NOT_READY)
    ready = body.get("ready")
    _need(isinstance(ready, bool), "`ready` is not a boolean")
    _need(ready == (answer.status == 200), "`ready` and the HTTP status contradict each other")
    gates = kept.table(body.get("gates"))
    return {
        "httpStatus": answer.status,
        "ready": ready,
        "errorClass": kept.one_of(body.get("error_class"), ERROR_CLASSES),
        "gates": {gate: kept.flag(gates.get(gate)) for gate in ("alpaca_ws", "kafka", "trade_updates")},
    }


def ta_ready(answer: Answer) -> dict[str, Any]:
    """Return the one-process TA's `/readyz`: 200 or 503, readiness and the reason it names."""
    body = service_answer(answer, also=_NOT_READY)
    ready = body.get("ready")
    _need(isinstance(ready, bool), "`ready` is not a boolean")
    _need(ready == (answer.status == 200), "`ready` and the HTTP status contradict each other")
    return {"httpStatus": answer.status, "ready": ready, "reason": kept.one_of(body.get("reason"), TA_REASONS)}


_UNCERTAIN = ("never_arrived", "arrived_late", "orphans", "cancels_not_obeyed")


def trading_status(answer: Answer) -> dict[str, Any]:
    """Return `/trading/status` as switches, loop state, counters and the AI review's state."""
    body = service_answer(answer)
    _need(isinstance(body.get("enabled"), bool), "`enabled` is not a boolean")
    _need(isinstance(body.get("mode"), str), "`mode` is not a text")
    _need(isinstance(body.get("running"), bool), "`running` is not a boolean")
    _need(body["mode"] in _MODES, "`mode` is none of paper, live and dry-run")
    llm, metrics = kept.table(body.get("llm")), kept.table(body.get("metrics"))
    resolution = kept.table(llm.get("policy_resolution"))
    return {
        "enabled": body["enabled"],
        "mode": body["mode"],
        "liveEnabled": kept.truth(body.get("live_enabled"), "live_enabled"),
        "killSwitch": kept.truth(body.get("kill_switch_enabled"), "kill_switch_enabled"),
        "running": body["running"],
        "isLeader": kept.flag(body.get("leader")),
        "lastRun": kept.when(body.get("last_run_at")),
        "lastReconcile": kept.when(body.get("last_reconcile_at")),
        "hasError": bool(body.get("last_error")),
        "errorSignatures": kept.signatures(body.get("last_error")),
        "databaseKillSwitch": kept.flag(kept.table(body.get("kill_switch")).get("database")),
        "leaderSilent": kept.flag(body.get("leader_silent")),
        "stoppedSince": kept.when(kept.table(body.get("stop")).get("since")),
        "isStopped": isinstance(body.get("stop"), dict),
        "ordersUncertain": {
            key: kept.number(kept.table(body.get("orders_uncertain")).get(key)) or 0 for key in _UNCERTAIN
        },
        "lossLatched": kept.flag(kept.table(body.get("loss_limit")).get("latched")),
        "lossSince": kept.when(kept.table(body.get("loss_limit")).get("since")),
        "counters": {key: kept.number(metrics.get(key)) for key in _COUNTERS if key in metrics},
        "llm": {
            "enabled": kept.flag(llm.get("enabled")),
            "shadowMode": kept.flag(llm.get("shadow_mode")),
            "failMode": kept.one_of(llm.get("fail_mode"), ("veto", "pass_through")),
            "policy": kept.one_of(
                resolution.get("classification"), ("compliant", "intentional_exception", "violation")
            ),
            "circuitOpen": kept.flag(kept.table(llm.get("circuit")).get("open")),
        },
    }


def trading_health(answer: Answer) -> dict[str, Any]:
    """Return `/trading/health`: which dependencies answer."""
    body = service_answer(answer, also=_NOT_READY)
    _need(isinstance(body.get("status"), str), "`status` is not a text")
    dependencies = kept.table(body.get("dependencies"))
    names = ("postgres", "clickhouse", "alpaca")
    return {
        "status": kept.one_of(body.get("status"), ("ok", "degraded")),
        "scheduler": kept.flag(kept.table(body.get("scheduler")).get("ok")),
        "dependencies": {key: kept.flag(kept.table(dependencies.get(key)).get("ok")) for key in names},
    }


def symbols(answer: Answer) -> list[str]:
    """Return the universe, sorted; what cannot be a symbol is left out."""
    entries = service_answer(answer).get("symbols")
    _need(isinstance(entries, list), "`symbols` is not a list")
    return sorted({entry for entry in entries or [] if isinstance(entry, str) and _SYMBOL.fullmatch(entry)})


def ta_latest(answer: Answer) -> dict[str, Any]:
    """Return when the newest micro-bar and signal of a symbol happened, None for none yet."""
    body = service_answer(answer)
    _need(body.get("ok") is True, "`ok` is not true")
    _need("bars" in body and "signals" in body, "`bars` and `signals` are not both there")
    return {"bars": _row(body["bars"], "bars"), "signals": _row(body["signals"], "signals")}


def _row(row: Any, what: str) -> dict[str, Any] | None:
    if row is None:
        return None
    stamp = mapping(row, f"`{what}`").get("event_ts")
    _need(isinstance(stamp, str), f"`{what}.event_ts` is not a time")
    return {"event": event_time(str(stamp)), "windowSize": kept.one_of(row.get("window_size"), ("PT1S", "PT1M"))}


def event_time(text: str) -> str:
    """Return a row's time as RFC 3339; ClickHouse writes `2026-01-05 14:30:01.000`, in UTC and without a zone."""
    try:
        return format_ns(parse_ns(text))
    except ValueError:
        try:
            return format_ns(parse_ns(f"{text}Z"))
        except ValueError:
            raise ReadError(Failure.UNPARSABLE, "`event_ts` is not a time") from None


def gauges(answer: Answer) -> dict[str, dict[str, float]]:
    """Return the guardrail gauges by replica; one that is no number (yet) is left out, nonsense is refused. A gauge without that label belongs to replica `-`."""
    refuse_status(answer)
    found: dict[str, dict[str, float]] = {}
    for line in answer.body.decode("utf-8", "replace").splitlines():
        match = _GAUGE.fullmatch(line.strip())
        if match is None or match["name"] not in GAUGES:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            raise ReadError(Failure.UNPARSABLE, f"gauge {match['name']} is not a number") from None
        replica = _REPLICA.search(match["labels"] or "")
        if math.isfinite(value):
            lowest, highest = _RANGES.get(match["name"], (0.0, math.inf))
            _need(lowest <= value <= highest, f"gauge {match['name']} is out of its range")
            found.setdefault(replica[1] if replica else "-", {})[match["name"]] = value
    _need(any("clickhouse_up" in entry for entry in found.values()), "no clickhouse_up gauge among the metrics")
    return dict(sorted(found.items()))


def flink_checkpoints(answer: Answer) -> dict[str, Any]:
    """Return when the last checkpoint was completed and how many completed and failed."""
    body = service_answer(answer)
    _need(isinstance(body.get("counts"), dict), "`counts` is not an object")
    counts, latest = kept.table(body.get("counts")), kept.table(kept.table(body.get("latest")).get("completed"))
    return {
        "completed": kept.count(counts.get("completed")),
        "failed": kept.count(counts.get("failed")),
        "lastCompleted": kept.when(latest.get("latest_ack_timestamp") or latest.get("trigger_timestamp")),
    }


def flink_exceptions(answer: Answer) -> dict[str, Any]:
    """Return the signatures of a Flink job's newest exceptions, newest first, and when the newest happened."""
    body = service_answer(answer)
    _need("exceptionHistory" in body or "root-exception" in body, "no exceptions among the fields")
    entries = kept.objects(kept.table(body.get("exceptionHistory")).get("entries"))
    texts = [str(entry.get("stacktrace") or entry.get("exceptionName") or "") for entry in entries]
    texts.append(str(body.get("root-exception") or ""))
    stamp = entries[0].get("timestamp") if entries else body.get("timestamp")
    return {"signatures": kept.signatures("\n".join(reversed(texts))), "last": kept.when(stamp)}


def log_signatures(answer: Answer) -> dict[str, Any]:
    """Return the signatures in a log's tail; its lines are dropped. A container without a log is answered with 400."""
    if answer.status == 400:
        raise ReadError(Failure.ABSENT, "HTTP 400")
    refuse_status(answer)
    text = answer.body.decode("utf-8", "replace")
    return {"lines": text.count("\n"), "signatures": kept.signatures(text)}


def clickhouse_rows(answer: Answer) -> list[list[Any]]:
    """Return the rows of a `JSONCompact` answer of ClickHouse."""
    refuse_status(answer)
    rows = mapping(parse_json(answer)).get("data")
    _need(isinstance(rows, list), "`data` is not a list")
    return [row for row in rows or [] if isinstance(row, list)]
