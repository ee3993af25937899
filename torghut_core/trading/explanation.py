"""Each effective setting with where it comes from, for an operator to read before a start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from torghut_core.settings import load, variable_names
from torghut_core.trading.encoding import plain
from torghut_core.trading.review.policy import resolve_policy
from torghut_core.trading.settings import TradingSettings, contradictions, unknown_variables

_HIDDEN = frozenset({"live_account"})


def explain(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return every setting's variable, value and source (`environment` or `default`), contradictions and AI policy.

    Secrets, and the live account's number, are only said to be set. Raises ConfigurationError for values that break
    their own rule; contradictions between variables are part of the answer.
    """
    settings = load(TradingSettings, environment)
    rows = []
    for name, field in TradingSettings.model_fields.items():
        names = variable_names(field, name)
        given = next((candidate for candidate in names if environment.get(candidate, "").strip()), None)
        value = getattr(settings, name)
        is_hidden = isinstance(value, SecretStr) or (name in _HIDDEN and value is not None)
        rows.append(
            {
                "variable": given or names[0],
                "value": "(hidden)" if is_hidden else plain(value),
                "source": "default" if given is None else "environment",
            }
        )
    rows.sort(key=lambda row: str(row["variable"]))
    return {
        "schemaVersion": "torghut.trading-config/v1",
        "settings": rows,
        "derived": {
            "account_label": settings.account_label,
            "broker_is_live": settings.is_live_broker,
            "universe_source": settings.effective_universe_source,
        },
        "unknownVariables": list(unknown_variables(environment)),
        "contradictions": list(contradictions(settings)),
        "policyResolution": resolve_policy(settings.review_switches).as_json(),
    }
