"""Alerts and dashboard name metrics that the code exports, and runbooks that are there."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import promql_parser
import pytest
from prometheus_client import CollectorRegistry

from tests.torghutctl.test_shipped_environment import ROOT, documents
from torghut_core.ingest.metrics import Metrics as ForwarderMetrics
from torghut_core.ingest.metrics import add_families
from torghut_core.ta.status import Metrics as TaMetrics
from torghut_core.trading import metrics as trading
from torghut_core.visuals import guardrails

NAME = re.compile(r"torghut_(?:ws|ta|trading|clickhouse_guardrails)_[a-z0-9_]+|torghut:[a-z_]+")


def forwarder_names() -> set[str]:
    """Return the sample names of the forwarder's families; nothing is read from the forwarder to list them."""
    registry = CollectorRegistry()
    metrics = ForwarderMetrics(registry)
    part = SimpleNamespace(lanes={})
    add_families(metrics, SimpleNamespace(session=part, publisher=part, universe=part))
    families = {
        f"torghut_ws_{name}" + ("_total" if kind.__name__.startswith("Counter") else "")
        for kind, name, *_ in metrics._families
    }
    return families | {
        f"{each._name}{end}" for each in (metrics.lag, metrics.send_latency) for end in ("_bucket", "_count", "_sum")
    }


def ta_names() -> set[str]:
    registry = CollectorRegistry()
    TaMetrics(registry)
    return {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}


def exported() -> set[str]:
    """Return every name of a sample that a runtime exports."""
    of_trading = {*trading._COUNTERS, *trading._LABELLED, *trading._GAUGES}
    return {
        *forwarder_names(),
        *ta_names(),
        *(trading.PREFIX + name for name in of_trading),
        *(guardrails._PREFIX + name for name in guardrails._HELP),
    }


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [item for item in documents() if (item["kind"], item.get("metadata", {}).get("name")) == (kind, name)]
    return found


RULES = [rule for group in one("PrometheusRule", "torghut")["spec"]["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PANELS = json.loads(one("ConfigMap", "torghut-dashboard")["data"]["torghut.json"])["panels"]
EXPRESSIONS = [
    *((rule.get("alert") or rule["record"], rule["expr"]) for rule in RULES),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_expression_when_it_names_a_metric_then_the_code_exports_it(title: str, expression: str) -> None:
    """An alert on a name that nothing exports never fires."""
    named = set(NAME.findall(expression))
    assert named, title
    assert named - exported() - RECORDED == set()


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_expression_when_parsed_then_it_is_promql(title: str, expression: str) -> None:
    """The API server takes any text; Prometheus leaves a whole group out for one that it cannot read."""
    assert promql_parser.parse(expression) is not None, title


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: rule["alert"])
def test_alert_when_it_fires_then_its_runbook_is_there(alert: dict[str, Any]) -> None:
    """Whoever is woken up reads what to do; the severity says how soon."""
    notes = alert["annotations"]
    assert (ROOT / notes["runbook"]).is_file(), notes["runbook"]
    assert notes["runbook"].startswith("runbooks/")
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert notes["summary"]
    assert notes["description"]


def test_alerts_when_listed_then_each_family_has_one() -> None:
    """What the system is watched for: each by a name."""
    families = (
        "ForwarderNotReady", "Kafka", "TaDown", "SignalsStale", "MicrobarsStale", "TradesIncomplete",
        "DiskLow", "DiskCritical", "ReplicaReadOnly", "NoLeader", "TwoLeaders",
    )  # fmt: skip
    names = [alert["alert"] for alert in ALERTS]
    assert [each for each in families if not any(each in name for name in names)] == []
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name",
    ["TorghutTaBehind", "TorghutSignalsStale", "TorghutMicrobarsStale", "TorghutTradesIncomplete"],
)
def test_freshness_when_the_market_is_closed_then_no_alert(name: str) -> None:
    """Nothing new at night is no fault."""
    (alert,) = [rule for rule in ALERTS if rule["alert"] == name]
    assert "and on() (torghut:market_session_open == 1)" in alert["expr"]
