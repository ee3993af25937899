"""Options that several commands share: declared once as a dataclass, and put into a command's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import typer

from torghutctl.environments import NAME_OPTIONS


def one_of(words: type[StrEnum]) -> str:
    """Return what help shows in a value's place where it is one of these words."""
    return "|".join(words)


@dataclass(frozen=True, kw_only=True)
class ResourceNames:
    """The names of the resources that make up a system, where they are not the usual ones."""

    namespace: Annotated[str | None, typer.Option(metavar="NAME", help="namespace of the system (torghut)")] = None
    service: Annotated[str | None, typer.Option(metavar="NAME", help="Knative Service that trades (torghut)")] = None
    ws_deployment: Annotated[
        str | None, typer.Option(metavar="NAME", help="Deployment of the forwarder (torghut-ws)")
    ] = None
    flink_deployment: Annotated[
        str | None, typer.Option(metavar="NAME", help="FlinkDeployment of the TA job (torghut-ta)")
    ] = None
    clickhouse_service: Annotated[
        str | None, typer.Option(metavar="NAME", help="Service of ClickHouse (torghut-clickhouse)")
    ] = None
    cnpg_cluster: Annotated[str | None, typer.Option(metavar="NAME", help="CloudNativePG Cluster (torghut-db)")] = None

    @property
    def names(self) -> dict[str, str | None]:
        """The names that were given, by field of `Names`; None where none was."""
        return {key: getattr(self, key) for key in NAME_OPTIONS}


def with_options(
    group: type, text: str | None = None, *, without: frozenset[str] = frozenset()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of the dataclass `group` behind its own; it receives them as `options`.

    `text` is its help, by default its docstring. Options in `without` are not offered, and keep their default.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(group, include_extras=True)
        own_hints = get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(annotation=own_hints[name])
            for name, parameter in inspect.signature(function).parameters.items()
            if name != "options"
        ]
        offered = [item for item in fields(group) if item.name not in without]
        shared = [
            inspect.Parameter(
                item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default, annotation=hints[item.name]
            )
            for item in sorted(offered, key=lambda item: item.name not in group.__annotations__)
        ]

        def command(**given: Any) -> None:
            options = group(**{parameter.name: given.pop(parameter.name) for parameter in shared})
            function(options=options, **given)

        command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        command.__doc__ = text or function.__doc__
        command.__name__ = function.__name__
        return command

    return decorate
