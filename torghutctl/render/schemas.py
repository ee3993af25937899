"""JSON Schemas (2020-12) of what `-o json` writes, by `schemaVersion`; `docs/schemas/` has them as files.

A reader may rely on every key that is required here; a schema that is closed lists all there are.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_ANY: Schema = {}
_TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$"}
_DIGEST: Schema = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_EXIT: Schema = {"type": "integer", "minimum": 1, "maximum": 9}


def _one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _by_name(schema: Schema) -> Schema:
    return {"type": "object", "additionalProperties": schema}


def _record(fields: dict[str, Schema], *, optional: dict[str, Schema] | None = None, is_open: bool = False) -> Schema:
    return {
        "type": "object",
        "properties": {**fields, **(optional or {})},
        "required": list(fields),
        "additionalProperties": is_open,
    }


_SUMS: Schema = {"type": "object"}
"""Amounts by name, each a number and beside it, as `NAME_text`, its exact text."""
_ERROR = _record({"exitCode": _EXIT, "message": _TEXT, "hint": _TEXT})
_LEVEL = _one_of("down", "degraded", "unknown", "info")
_CLASS = _one_of("healthy", "degraded", "down", "unknown")
_FINDING = _record(
    {"reason": _TEXT, "severity": _LEVEL, "message": _TEXT, "since": _maybe(_TIME), "evidence": _list(_TEXT)}
)
_HEALTH: dict[str, Schema] = {
    "classification": _CLASS,
    "observedAt": _TIME,
    "marketSession": _one_of("pre", "regular", "post", "closed"),
    "marketDay": _maybe(_TEXT),
    "topCause": _maybe(_record({"component": _TEXT, "reason": _TEXT, "message": _TEXT, "since": _maybe(_TIME)})),
    "nextProcedure": _maybe(_record({"name": _TEXT, "command": _maybe(_TEXT), "runbook": _TEXT})),
    "components": _list(
        _record(
            {
                "name": _TEXT,
                "status": _one_of("healthy", "degraded", "down", "unknown", "not present", "not read"),
                "findings": _list(_FINDING),
            }
        )
    ),
}
_PULL = _record({"number": _COUNT, "url": _TEXT, "adopted": _FLAG})
_RESULT = _record({"branch": _maybe(_TEXT), "commit": _maybe(_TEXT), "pullRequest": _maybe(_PULL)})
_PLAN: dict[str, Schema] = {
    "procedure": _TEXT,
    "environment": _TEXT,
    "base": _TEXT,
    "digest": _DIGEST,
    "files": _list(_record({"path": _TEXT, "diff": _TEXT})),
    "actions": _list(_record({"target": _TEXT, "statement": _TEXT})),
    "preconditions": _list(_record({"name": _TEXT, "ok": _maybe(_FLAG), "detail": _TEXT, "refuses": _FLAG})),
    "verification": _list(_TEXT),
    "rollback": _list(_TEXT),
    "act": _maybe(_TEXT),
    "result": _maybe(_RESULT),
}
_SETTING = _record(
    {
        "name": _TEXT,
        **{column: _maybe(_TEXT) for column in ("git", "live", "revision", "effective")},
        "agrees": _FLAG,
        "difference": _maybe(_TEXT),
    }
)
_STATUS: dict[str, Schema] = {
    "observedAt": _TIME,
    "agreement": _one_of("same", "different", "unknown"),
    "trades": _TEXT,
    "git": _record({"commit": _maybe(_TEXT)}),
    "argocd": _maybe({"type": "object"}),
    "revision": _record({"created": _maybe(_TEXT), "ready": _maybe(_TEXT)}),
    "settings": _list(_SETTING),
    "pods": _list(_record({"pod": _TEXT}, is_open=True)),
    "unread": _list(_TEXT),
}
_FILE: dict[str, Schema] = {"file": _TEXT, "isThere": _FLAG}
_ENVIRONMENT = _record({"name": _TEXT, "production": _FLAG, "live": _FLAG}, is_open=True)
_CHECK = _record({"stage": _TEXT, "name": _TEXT, "ok": _maybe(_FLAG), "detail": _TEXT})

_NUMBER: Schema = {"type": "number"}
_JUDGED: dict[str, Schema] = {
    **dict.fromkeys(("return", "turnover", "fees"), _NUMBER),
    "trades": _COUNT,
    "hitRate": _maybe(_NUMBER),
    "sharpe": _record({"value": _maybe(_NUMBER), "of": _TEXT}),
    "maxDrawdown": _record({"share": _NUMBER, "at": _maybe(_TIME)}),
}
"""What is compared of backtests."""
_DOCUMENTS: dict[str, Schema] = {
    "torghut.access/v1": _record(
        {
            "role": _TEXT,
            "never": _list(_TEXT),
            "rules": _list(
                _record(
                    {
                        "namespace": _TEXT,
                        "apiGroup": _TEXT,
                        "resource": _TEXT,
                        "verbs": _list(_TEXT),
                        "required": _FLAG,
                        "for": _list(_TEXT),
                    }
                )
            ),
        }
    ),
    "torghut.agentruns/v1": _record(
        {},
        optional={
            "documents": _list({"type": "object"}),
            "files": _list(_TEXT),
            "problems": _list(_record({"file": _TEXT, "problem": _TEXT})),
        },
    ),
    "torghut.audit/v1": _record(
        {"path": _TEXT, "lines": {"anyOf": [_COUNT, _list({"type": "object"})]}}, optional={"faults": _list(_ANY)}
    ),
    "torghut.config/v1": _record(
        {
            "runtime": _one_of("ws", "ta", "trading", "visuals", "guardrails"),
            "settings": _list(_record({"variable": _TEXT, "value": _ANY, "source": _TEXT, "means": _TEXT})),
            "unknown": _list(_TEXT),
        },
        is_open=True,
    ),
    "torghut.environment/v1": _record({**_FILE, "environment": _ENVIRONMENT}),
    "torghut.environments/v1": _record({**_FILE, "environments": _list(_ENVIRONMENT)}),
    "torghut.environments-check/v1": _record(
        {
            **_FILE,
            "problems": _list(_record({"level": _one_of("error", "warning"), "where": _TEXT, "problem": _TEXT})),
        }
    ),
    "torghut.error/v1": _record({"error": _ERROR}),
    "torghut.health/v1": _record(_HEALTH),
    "torghut.llm-evaluation/v1": _record(
        {
            "window": _record({"since": _TIME, "until": _TIME}),
            "horizonMinutes": {"type": "number"},
            **dict.fromkeys(("skippedRows", "reviews", "shadow", "judged"), _COUNT),
            "verdicts": _list(_SUMS),
            **dict.fromkeys(
                ("passedMeanBps", "vetoedMeanBps", "advantageBps", "errorShare"), _maybe({"type": "number"})
            ),
            "models": _list(_SUMS),
        }
    ),
    "torghut.llm-promotion/v1": _record(
        {"stage": _TEXT, "promotable": _FLAG, "reasons": _list(_TEXT), "counts": _ANY, "minima": _ANY, "window": _ANY},
        is_open=True,
    ),
    "torghut.plan/v1": _record(_PLAN, optional={"error": _ERROR}),
    "torghut.releases/v1": _record(
        {
            "releases": _list(
                _record(
                    {
                        "digest": _TEXT,
                        "version": _TEXT,
                        "commit": _TEXT,
                        "deployedBy": _TEXT,
                        "at": _TIME,
                        "wasRolledBack": _FLAG,
                    }
                )
            )
        }
    ),
    "torghut.replay/v1": _record(
        {"id": _maybe(_TEXT), "mode": _maybe(_TEXT), "steps": _list({"type": "object"}), "checks": _list(_CHECK)}
    ),
    "torghut.runbook/v1": _record({"name": _TEXT, "text": _TEXT}),
    "torghut.runbooks/v1": _record({"runbooks": _list(_record({"name": _TEXT, "title": _TEXT}))}),
    "torghut.status/v1": _record(_STATUS),
    "torghut.ta-check/v1": _record(
        {
            "file": _TEXT,
            "symbols": _list(
                _record(
                    {
                        "symbol": _TEXT,
                        **dict.fromkeys(("compared", "equal", "onlyOwn", "onlyProvider"), _COUNT),
                        "differing": {"type": "object", "additionalProperties": _COUNT},
                        "volumeRatio": _maybe({"type": "number"}),
                    }
                )
            ),
            "worst": _list(_record({"symbol": _TEXT, "minuteEnd": _TIME, "fields": {"type": "object"}})),
        }
    ),
    "torghut.top/v1": _record(
        {
            "health": _record({"schemaVersion": _TEXT, **_HEALTH}),
            "trading": _record({"schemaVersion": _TEXT, **_STATUS}),
            "symbols": _list(
                _record(
                    {
                        "symbol": _TEXT,
                        "barAgeSeconds": _maybe({"type": "number"}),
                        "signalAgeSeconds": _maybe({"type": "number"}),
                    }
                )
            ),
            "desk": _maybe({"type": "object"}),
        }
    ),
    "torghut.trading-config/v1": _record(
        {"settings": _list(_record({"variable": _TEXT, "value": _ANY, "source": _TEXT, "means": _TEXT}))}, is_open=True
    ),
    "torghut.trading-report/v1": _record(
        {
            "account": _TEXT,
            "from": _TEXT,
            "to": _TEXT,
            "pricedBy": _one_of("broker", "fills"),
            **{
                name: {"type": "number"}
                for name in ("realised", "unrealised", "net", "profit", "foreign_proceeds", "bought", "sold")
            },
            **dict.fromkeys(("fills", "closes", "wins"), _COUNT),
            **dict.fromkeys(("fees", "charged", "drawdown"), _SUMS),
            **dict.fromkeys(("days", "strategies", "symbols", "rows", "positions", "curve"), _list(_SUMS)),
            "broker": _record(
                {
                    "read": _FLAG,
                    "detail": _TEXT,
                    "comparedOrders": _COUNT,
                    "foreignFills": _COUNT,
                    "differences": _list(_SUMS),
                }
            ),
        },
        is_open=True,
    ),
    "torghut.backtest/v1": _record(
        {
            **dict.fromkeys(("from", "to", "fills"), _TEXT),
            **dict.fromkeys(("symbols", "strategies", "warnings"), _list(_TEXT)),
            "seed": {"type": "integer"},
            **dict.fromkeys(("latencyMs", "trades", "rows", "instants"), _COUNT),
            **dict.fromkeys(("startEquity", "endEquity", "profit", "return", "turnover", "fees"), _NUMBER),
            "hitRate": _maybe(_NUMBER),
            "sharpe": _record({"value": _maybe(_NUMBER), "of": _TEXT}),
            "maxDrawdown": _record({"share": _NUMBER, "at": _maybe(_TIME)}),
            "exposure": _record(dict.fromkeys(("timeHeld", "mean", "max"), _NUMBER)),
            "orders": _by_name(_COUNT),
            "decisions": _by_name(_COUNT),
            "reasons": _by_name(_COUNT),
            "held": _by_name(_TEXT),
        }
    ),
    "torghut.backtest-sweep/v1": _record(
        {
            "combinations": _list(_record({"parameters": {"type": "object"}, **_JUDGED})),
            "warnings": _list(_TEXT),
        }
    ),
    "torghut.backtest-walk-forward/v1": _record(
        {
            "windows": _list(
                _record(
                    {
                        "parameters": {"type": "object"},
                        **dict.fromkeys(("chosenOn", "judgedOn"), _record({"from": _TEXT, "to": _TEXT, **_JUDGED})),
                    }
                )
            ),
            "return": _NUMBER,
            "trades": _COUNT,
            "warnings": _list(_TEXT),
        }
    ),
    "torghut.why/v1": _record(
        {
            **dict.fromkeys(
                ("reason", "component", "level", "means", "shownBy", "changedBy", "runbook", "source"), _TEXT
            ),
            "goesBefore": _list(_TEXT),
            "nextProcedure": _TEXT,
        }
    ),
}


def schema_of(version: str) -> Schema:
    """Return the schema of the documents with this `schemaVersion`. Raises KeyError for one that has none."""
    body = _DOCUMENTS[version]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": version,
        **body,
        "properties": {"schemaVersion": {"const": version}, **body["properties"]},
        "required": ["schemaVersion", *body["required"]],
    }


VERSIONS = tuple(sorted(_DOCUMENTS))
"""Every `schemaVersion` that has a schema."""
