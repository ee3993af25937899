"""Each effective setting with where it comes from, for an operator to read before a start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghut_core.settings import explain as explain_settings
from torghut_core.settings import load, unknown_variables
from torghut_core.trading.review.policy import resolve_policy
from torghut_core.trading.settings import TradingSettings, contradictions


def explain(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return every setting's variable, value and source (`environment` or `default`), contradictions and AI policy.

    Secrets, and the live account's number, are only said to be set. Raises ConfigurationError for values that break
    their own rule; contradictions between variables are part of the answer.
    """
    settings = load(TradingSettings, environment)
    return {
        "schemaVersion": "torghut.trading-config/v1",
        "settings": explain_settings(TradingSettings, environment),
        "derived": {
            "account_label": settings.account_label,
            "broker_is_live": settings.is_live_broker,
            "universe_source": settings.effective_universe_source,
        },
        "unknownVariables": unknown_variables(TradingSettings, environment),
        "contradictions": list(contradictions(settings)),
        "policyResolution": resolve_policy(settings.review_switches).as_json(),
    }
