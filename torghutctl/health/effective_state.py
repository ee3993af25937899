"""The effective state of trading: what git wants, what the cluster has, what the newest revision runs, what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torghut_core.errors import ExitCode
from torghut_core.rfc3339 import format_ns
from torghutctl.health.differences import explain
from torghutctl.health.reading import describe
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts
from torghutctl.snapshot.model import Failure, Snapshot

SCHEMA = "torghut.status/v1"
_SETTINGS = {
    "TRADING_ENABLED": "enabled",
    "TRADING_MODE": "mode",
    "TRADING_LIVE_ENABLED": "liveEnabled",
    "TRADING_KILL_SWITCH_ENABLED": "killSwitch",
    "LLM_ENABLED": "llm.enabled",
    "LLM_SHADOW_MODE": "llm.shadowMode",
}
_SOURCES = (sources.DESIRED, sources.ARGOCD_APPLICATION, sources.TRADING_SERVICE, sources.TRADING_REVISIONS)
_OF_POD = (
    "enabled",
    "mode",
    "liveEnabled",
    "killSwitch",
    "running",
    "isLeader",
    "lastRun",
    "lastReconcile",
    "hasError",
)
EXIT_CODES = {"same": ExitCode.OK, "different": ExitCode.DEGRADED, "unknown": ExitCode.UNKNOWN}


def show(snapshot: Snapshot) -> dict[str, Any]:
    """Return each switch side by side, the image, the commits, and whether everything that was read agrees."""
    facts = Facts(snapshot)
    service = facts.value(sources.TRADING_SERVICE)
    revisions = {item["name"]: item for item in facts.value(sources.TRADING_REVISIONS) or []}
    # Where a scheduler submits the orders, the service beside it only answers, and its switch is off for good.
    scheduler = facts.value(sources.TRADING_SCHEDULER)
    live = service if scheduler is None else scheduler
    newest = revisions.get((service or {}).get("newestCreated")) if scheduler is None else None
    desired = (facts.desired() or {}).get("trading")
    statuses = facts.trading_status()
    deciding = _deciding(facts, (service or {}).get("newestCreated"))
    effective = deciding[0] if deciding else None
    application = facts.value(sources.ARGOCD_APPLICATION)
    sync = None if application is None else application["sync"]
    rows = [
        _row(
            name,
            git=_variable(desired, name),
            live=_variable(live, name),
            revision=_variable(newest, name),
            effective=_reported(effective, key),
            others=[_reported(status, key) for status in deciding[1:]],
            sync=sync,
        )
        for name, key in _SETTINGS.items()
    ]
    image = _row(
        "image",
        git=(desired or {}).get("image"),
        live=(live or {}).get("image"),
        revision=(newest or {}).get("image"),
        effective=None,
        sync=sync,
    )
    unread = [
        facts.reading(source)
        for source in _SOURCES
        if not facts.reading(source).is_ok and facts.failure(source) is not Failure.NOT_PRESENT
    ]
    unread = [item for item in unread if item.source != sources.DESIRED or sources.DESIRED in snapshot.readings]
    is_known = effective is not None and not any(item.source != sources.ARGOCD_APPLICATION for item in unread)
    unread += [item for _, item in facts.family(sources.TRADING_STATUS) if not item.is_ok]
    is_different = effective is not None and any(not row["agrees"] for row in (*rows, image))
    return {
        "schemaVersion": SCHEMA,
        "observedAt": format_ns(snapshot.observed_at_ns),
        "agreement": "different" if is_different else "same" if is_known else "unknown",
        "trades": _trades(deciding),
        "git": {"commit": (facts.desired() or {}).get("commit")},
        "argocd": None
        if application is None
        else {key: application[key] for key in ("revision", "sync", "health", "operation", "isAutoSynced")},
        "revision": {"created": (service or {}).get("newestCreated"), "ready": (service or {}).get("newestReady")},
        "settings": [*rows, image],
        "pods": [
            {
                "pod": name,
                **{key: status[key] for key in _OF_POD},
            }
            for name, status in sorted(statuses.items())
        ],
        "unread": [describe(item) for item in unread],
    }


def _deciding(facts: Facts, newest: str | None) -> list[Mapping[str, Any]]:
    """The pods whose word counts: the scheduler's, else every revision's; one of the newest revision comes first."""
    statuses = facts.trading_status()
    schedulers = {pod.name for pod in facts.scheduler_pods()}
    of_newest = {pod.name for pod in facts.trading_pods() if pod.labels.get("serving.knative.dev/revision") == newest}
    counted = [name for name in statuses if name in schedulers] or list(statuses)
    return [statuses[name] for name in sorted(counted, key=lambda name: (name not in of_newest, name))]


def _variable(item: Mapping[str, Any] | None, name: str) -> str | None:
    found = next((entry for entry in (item or {}).get("variables", []) if entry["name"] == name), None)
    return None if found is None else found.get("value")


def _reported(status: Mapping[str, Any] | None, key: str) -> str | None:
    value: Any = status
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if value is None else str(value).lower()


def _row(
    name: str,
    *,
    git: str | None,
    live: str | None,
    revision: str | None,
    effective: str | None,
    others: Sequence[str | None] = (),
    sync: str | None,
) -> dict[str, Any]:
    """Return one setting's row; `others` is what further pods report: they must say the same, an older revision too."""
    columns = {"git": git, "live": live, "revision": revision, "effective": effective}
    difference = explain(name, **columns, others=others, sync=sync)
    return {"name": name, **columns, "agrees": difference is None, "difference": difference}


def _trades(statuses: Sequence[Mapping[str, Any]]) -> str:
    """Say whether anything trades: one pod that does outweighs all that do not, real money outweighs paper."""
    words = [_trade(status) for status in statuses]
    return max(words, key=lambda word: (word == "yes, with real money", word.startswith("yes")), default="unknown")


def _trade(status: Mapping[str, Any]) -> str:
    if status["killSwitch"]:
        return "no: the kill switch is on"
    if not status["enabled"]:
        return "no: paused"
    if not status["running"]:
        return "no: the loop does not run"
    return "yes, with real money" if status["mode"] == "live" or status["liveEnabled"] else "yes, on paper"
