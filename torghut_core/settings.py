"""Settings read once from the environment, and errors that name variable, value and rule.

A runtime declares a frozen pydantic model whose field aliases are the variables' names; `load` fills it. Every problem
is reported at once, one line each. A secret's value is never part of a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from torghut_core.errors import ConfigurationError, rule_of

_SHOWN_VALUE_LENGTH = 60


class Settings(BaseModel):
    """Base of every runtime's settings: frozen, by alias, unknown variables ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, populate_by_name=False)


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


def load(model: type[SettingsT], environment: Mapping[str, str]) -> SettingsT:
    """Return `model` filled from `environment`. A variable set to nothing counts as unset.

    Raises ConfigurationError that names each variable, its value (secrets masked) and the rule it breaks.
    """
    given = {key: value.strip() for key, value in environment.items() if value.strip()}
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
