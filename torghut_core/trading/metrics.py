"""Counts of the trading runtime: as a dictionary in `/trading/status`, as Prometheus text in `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "torghut_trading_"
_COUNTERS: Mapping[str, str] = {
    "signals_total": "Signals read from ClickHouse.",
    "decisions_total": "Decisions recorded.",
    "orders_submitted_total": "Orders the broker accepted.",
    "orders_rejected_total": "Orders the broker refused.",
    "orders_unknown_total": "Orders whose fate was unknown after the call.",
    "orders_never_arrived_total": "Orders given up because the broker never had them.",
    "orders_arrived_late_total": "Orders found at the broker after they had been given up.",
    "orders_canceled_total": "Cancellations the kill switch asked for.",
    "reconcile_updates_total": "Orders brought up to date.",
    "signals_late_total": "Signals that were written further back than the overlap.",
    "rule_errors_total": "Rules that failed on a window, whatever the reason.",
    "decisions_not_stored_total": "Decisions that PostgreSQL refused to store.",
    "llm_reviews_not_stored_total": "AI reviews that PostgreSQL refused to store.",
    "trade_updates_total": "Order events from the broker's stream.",
    "trade_updates_skipped_total": "Messages of the broker's stream that could not be used.",
    "decision_errors_total": "Decisions that ended in an internal error.",
    "settle_errors_total": "Outcomes that could not be stored at once.",
    "catalogue_errors_total": "Strategy files that were refused.",
    "llm_requests_total": "AI reviews asked for.",
    "llm_approve_total": "AI reviews that approved.",
    "llm_veto_total": "AI reviews that vetoed.",
    "llm_adjust_total": "AI reviews that adjusted.",
    "llm_error_total": "AI reviews that failed.",
    "llm_repaired_total": "AI reviews whose answer was not the schema's, but could be read.",
    "llm_budget_exceeded_total": "AI reviews not asked for because the day's budget was spent or could not be read.",
    "llm_circuit_open_total": "AI reviews not asked for because the circuit was open.",
    "llm_shadow_total": "AI reviews in shadow mode.",
}
_LABELLED: Mapping[str, tuple[str, str]] = {
    "decision_reject_reason_total": ("reason", "Refusals by gate."),
    "share_corrections_total": ("kind", "Strategies' shares corrected by the account's reading."),
    "strategy_faults_total": (
        "reason",
        "Strategies that raised, answered nonsense or nothing in time, died or did not load.",
    ),
    "exits_total": ("cause", "Exits wanted, by what called for them."),
    "signal_rows_skipped_total": ("reason", "Rows of ta_signals that no signal can be made of."),
    "lane_errors_total": ("lane", "Unforeseen errors of a lane."),
    "no_signal_reason_total": ("reason", "Polls without new signals."),
    "llm_policy_resolution_total": ("classification", "Fail-mode resolutions at start."),
}
_GAUGES: Mapping[str, str] = {
    "leader": "1 while this process holds the leader's lock.",
    "leader_silent": "1 while another process leads and gives no sign of life.",
    "market_session_open": "1 during the regular session.",
    "signal_lag_seconds": "Age of the newest signal when it was read.",
    "strategies_disabled": "Strategies that are off until the catalogue changes, because of what they did.",
    "nobodys_notional_dollars": "Dollars held that are no strategy's.",
    "profit_realised_dollars": "Dollars that own orders realised, fees not taken off.",
    "profit_unrealised_dollars": "Dollars that strategies' positions are worth above their cost.",
    "fees_dollars": "Dollars of fees by the configured rates.",
    "universe_symbols": "Symbols that may be traded.",
    "universe_age_seconds": "Seconds since the universe was last read.",
}


_LABELLED_GAUGES: Mapping[str, tuple[str, str]] = {
    "strategy_profit_dollars": ("strategy", "Dollars a strategy realised and not yet, fees not taken off."),
}


class Metrics(Collector):
    """Counters, labelled counters and gauges by fixed names; an unknown name is a KeyError."""

    def __init__(self) -> None:
        self._counters: dict[str, float] = dict.fromkeys(_COUNTERS, 0)
        self._labelled: dict[str, dict[str, float]] = {name: {} for name in _LABELLED}
        self._gauges: dict[str, float] = {}
        self._labelled_gauges: dict[str, dict[str, float]] = {name: {} for name in _LABELLED_GAUGES}
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def add(self, name: str, amount: float = 1) -> None:
        """Raise a counter."""
        self._counters[name] += amount

    def add_labelled(self, name: str, label: str, amount: float = 1) -> None:
        """Raise a labelled counter."""
        series = self._labelled[name]
        series[label] = series.get(label, 0) + amount

    def put(self, name: str, value: float) -> None:
        """Set a gauge."""
        if name not in _GAUGES:
            raise KeyError(name)
        self._gauges[name] = value

    def put_labelled(self, name: str, values: Mapping[str, float]) -> None:
        """Set every series of a labelled gauge."""
        if name not in _LABELLED_GAUGES:
            raise KeyError(name)
        self._labelled_gauges[name] = dict(values)

    def get(self, name: str) -> float:
        """Return a counter's value."""
        return self._counters[name]

    def as_json(self) -> dict[str, object]:
        """Return every count under its short name, whole numbers as integers."""

        return {
            **{name: _whole(value) for name, value in self._counters.items()},
            **{name: _whole(value) for name, value in self._gauges.items()},
            **{
                name: {label: _whole(value) for label, value in series.items()}
                for name, series in [*self._labelled.items(), *self._labelled_gauges.items()]
            },
        }

    def describe(self) -> Iterator[Metric]:
        """Yield every family, without a value."""
        for name, help_text in _COUNTERS.items():
            yield CounterMetricFamily(PREFIX + name.removesuffix("_total"), help_text)
        for name, (label, help_text) in _LABELLED.items():
            yield CounterMetricFamily(PREFIX + name.removesuffix("_total"), help_text, labels=[label])
        for name, (label, help_text) in _LABELLED_GAUGES.items():
            yield GaugeMetricFamily(PREFIX + name, help_text, labels=[label])
        for name, help_text in _GAUGES.items():
            yield GaugeMetricFamily(PREFIX + name, help_text)

    def collect(self) -> Iterator[Metric]:
        """Yield the families for Prometheus."""
        for name, help_text in _COUNTERS.items():
            yield CounterMetricFamily(PREFIX + name.removesuffix("_total"), help_text, value=self._counters[name])
        for name, (label, help_text) in _LABELLED.items():
            family = CounterMetricFamily(PREFIX + name.removesuffix("_total"), help_text, labels=[label])
            for value_of_label, value in list(self._labelled[name].items()):
                family.add_metric([value_of_label], value)
            yield family
        for name, (label, help_text) in _LABELLED_GAUGES.items():
            gauge = GaugeMetricFamily(PREFIX + name, help_text, labels=[label])
            for value_of_label, value in list(self._labelled_gauges[name].items()):
                gauge.add_metric([value_of_label], value)
            yield gauge
        for name, value in list(self._gauges.items()):
            yield GaugeMetricFamily(PREFIX + name, _GAUGES[name], value=value)


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value
