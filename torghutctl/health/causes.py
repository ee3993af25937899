"""The cause graph: which failing component explains which, and what to name first.

kafka → forwarder → ta → freshness      kafka → ta
keeper → clickhouse → ta, trading, freshness      postgres → trading      argocd explains nothing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torghutctl.health.model import Finding

DOWNSTREAM: dict[str, tuple[str, ...]] = {
    "kafka": ("forwarder", "ta"),
    "forwarder": ("ta",),
    "ta": ("freshness",),
    "keeper": ("clickhouse",),
    "clickhouse": ("ta", "trading", "freshness"),
    "postgres": ("trading",),
}
ORDER = ("kafka", "keeper", "clickhouse", "postgres", "forwarder", "ta", "trading", "argocd", "freshness")
_INDEPENDENT = frozenset(
    {"alpaca_406_second_connection", "alpaca_auth", "alpaca_config", "alpaca_symbol_limit", "forwarder_replicas", "ta_spec_error", "ta_suspended_drift",
     "ta_replay_left_on", "live_trading_enabled", "trading_two_writers", "trading_crash_json", "missing_config",
     "image_pull", "unschedulable", "oom_killed"}
)  # fmt: skip
"""Reasons that name a cause of their own, so that nothing upstream explains them."""
_AGES = frozenset({"signals_stale", "microbars_stale"})
_UNREADABLE = "unreadable"
"""That a source cannot be read may follow from a failure; it explains none, and nobody knows that it stands apart."""
_EXPLAINED_BY = {
    "ta_failed_kafka": frozenset({"kafka"}),
    "ta_failed_disk_full": frozenset({"clickhouse"}),
    "ta_failed_readonly_table": frozenset({"keeper", "clickhouse"}),
    "ta_failed_storage": frozenset[str](),
}
"""Reasons that say themselves where their cause lies: of all that is upstream only these components explain them."""


@dataclass(frozen=True, kw_only=True)
class Causes:
    """What is named first, what follows from what, and what stands for itself."""

    top: Finding | None
    explained_by: Mapping[str, str]
    """Failing component: the most upstream failing component that explains it."""
    independent: tuple[str, ...]


def reach(component: str) -> frozenset[str]:
    """Return everything downstream of a component."""
    found: set[str] = set()
    waiting = list(DOWNSTREAM.get(component, ()))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += DOWNSTREAM.get(name, ())
    return frozenset(found)


def trace(worst: Mapping[str, Finding], *, pending: Sequence[Finding], is_ta_readable: bool) -> Causes:
    """Return the causes among each component's worst finding (failing components only).

    Freshness is never named while the TA can be read: what else fails is, or else what is still in its grace.
    """
    explained: dict[str, str] = {}
    for name, finding in worst.items():
        if finding.reason in _INDEPENDENT:
            continue
        for upstream in ORDER:
            other = worst.get(upstream)
            if (
                other is None
                or other.reason == _UNREADABLE
                or upstream not in _EXPLAINED_BY.get(finding.reason, (upstream,))
            ):
                continue
            if name in reach(upstream) and other.level.weight >= finding.level.weight:
                explained[name] = upstream
                break
    candidates = sorted(
        (finding for name, finding in worst.items() if name not in explained),
        key=lambda finding: (-finding.level.weight, ORDER.index(finding.component)),
    )
    if is_ta_readable:
        others = [item for item in candidates if not _is_age(item)]
        candidates = others or sorted(pending, key=lambda item: ORDER.index(item.component)) or candidates
    top = candidates[0] if candidates else None
    independent = tuple(
        name
        for name in ORDER
        if name in worst
        and name not in explained
        and worst[name].reason != _UNREADABLE
        and (top is None or name != top.component)
    )
    return Causes(top=top, explained_by=explained, independent=independent)


def _is_age(finding: Finding) -> bool:
    return finding.reason in _AGES
