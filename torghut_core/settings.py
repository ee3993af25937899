"""Settings read once from the environment, and errors that name variable, value and rule.

A runtime declares a frozen pydantic model whose field aliases are the variables' names; `load` fills it. Every problem
is reported at once, one line each. A secret's value is never part of a message.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from torghut_core.errors import ConfigurationError, rule_of

_SHOWN_VALUE_LENGTH = 60
_LOG = logging.getLogger("torghut.settings")


class Settings(BaseModel):
    """Base of every runtime's settings: frozen, by alias, variables of other programs ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, populate_by_name=False)
    families: ClassVar[tuple[str, ...]] = ()
    """Beginnings of variable names that belong to this runtime alone: another one of them is a slip, and is told."""
    elsewhere: ClassVar[frozenset[str]] = frozenset()
    """Names of these families that another runtime reads: one environment may hold both, and neither is a slip."""
    hidden: ClassVar[frozenset[str]] = frozenset()
    """Fields whose value is never shown, beside secrets."""


SettingsT = TypeVar("SettingsT", bound=Settings)


def variable_names(field: FieldInfo, name: str) -> tuple[str, ...]:
    """Return the variables a field is read from, the one that wins first."""
    alias = field.validation_alias or field.alias or name
    if isinstance(alias, AliasChoices):
        return tuple(choice for choice in alias.choices if isinstance(choice, str))
    return (str(alias),)


def known_variables(model: type[Settings]) -> frozenset[str]:
    """Return every variable that a runtime reads, each spelling of it: another one of its families is a slip."""
    return frozenset(variable for name, field in model.model_fields.items() for variable in variable_names(field, name))


def unknown_variables(model: type[Settings], environment: Mapping[str, str]) -> list[str]:
    """Return the variables of the runtime's families that neither it nor another one knows, sorted."""
    known = known_variables(model) | model.elsewhere
    return sorted(name for name in environment if name.startswith(model.families) and name not in known)


def told_unknown(model: type[Settings], environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each unknown variable, with the known name that it may be meant for."""
    sentences = []
    for name in unknown_variables(model, environment):
        near = nearest_variable(model, name)
        sentences.append(f"{name}: is not known and has no effect" + (f"; is {near} meant?" if near else ""))
    return sentences


def nearest_variable(model: type[Settings], name: str) -> str | None:
    """Return the variable that a misspelt name may be meant for."""
    near = get_close_matches(name, sorted(known_variables(model)), n=1, cutoff=0.75)
    return near[0] if near else None


def explain(model: type[Settings], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return every setting's variable, effective value, source (`environment` or `default`) and meaning, by variable.

    Secrets are only said to be set. Raises ConfigurationError for a value that breaks its own rule.
    """
    settings = load(model, environment)
    rows = []
    for name, field in model.model_fields.items():
        names = variable_names(field, name)
        given = next((candidate for candidate in names if environment.get(candidate, "").strip()), None)
        value = getattr(settings, name)
        is_hidden = isinstance(value, SecretStr) or (name in model.hidden and value is not None)
        rows.append(
            {
                "variable": given or names[0],
                "value": "(hidden)" if is_hidden else _plain(value),
                "source": "default" if given is None else "environment",
                "means": field.description or "",
            }
        )
    return sorted(rows, key=lambda row: str(row["variable"]))


def _plain(value: Any) -> Any:
    """Return a value as JSON can have it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)


def load(model: type[SettingsT], environment: Mapping[str, str]) -> SettingsT:
    """Return `model` filled from `environment`. A variable set to nothing counts as unset.

    A variable of the runtime's families that nothing reads is warned of, so that a misspelt switch never passes in silence.
    Raises ConfigurationError that names each variable, its value (secrets masked) and the rule it breaks.
    """
    given = {key: value.strip() for key, value in environment.items() if value.strip()}
    for sentence in told_unknown(model, environment):
        _LOG.warning("%s", sentence)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_describe(model, item, given) for item in error.errors())) from None


def _describe(model: type[Settings], item: Any, given: Mapping[str, str]) -> str:
    location = [str(part) for part in item["loc"]]
    rule = rule_of(str(item["msg"]))
    if not location:
        return rule
    variable = location[0]
    for name, field in model.model_fields.items():
        names = variable_names(field, name)
        if variable == name or variable in names:
            variable = next((candidate for candidate in names if candidate in given), names[0])
            is_secret = "Secret" in str(field.annotation)
            break
    else:
        is_secret = True
    if variable not in given:
        return f"{variable}: must be set" if item["type"] == "missing" else f"{variable}: {rule}"
    value = "(hidden)" if is_secret else repr(given[variable][:_SHOWN_VALUE_LENGTH])
    return f"{variable}={value}: {rule}"


def reveal(secret: SecretStr | None) -> str | None:
    """Return a secret's text for the one call that needs it."""
    return secret.get_secret_value() if secret is not None else None
