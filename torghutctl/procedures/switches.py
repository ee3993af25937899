"""The trading switches, how their values read, and the places that set them."""

from __future__ import annotations

from dataclasses import dataclass

from torghutctl.planning.yaml_document import Address
from torghutctl.snapshot.repository import TreeFile

ENABLED = "TRADING_ENABLED"
KILL_SWITCH = "TRADING_KILL_SWITCH_ENABLED"
MODE = "TRADING_MODE"
LIVE_ENABLED = "TRADING_LIVE_ENABLED"
KNATIVE_FILE = "knative-service.yaml"

_FALSE = frozenset({"false", "0", "no", "off", "f", "n", ""})
_TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})


def is_false(value: str | None) -> bool:
    """Tell whether a setting reads as off; a missing one is off, as the program's default is."""
    return value is None or value.strip().lower() in _FALSE


def is_true(value: str | None) -> bool:
    """Tell whether a setting reads as on. What is neither on nor off stops the program's start, and is neither here."""
    return value is not None and value.strip().lower() in _TRUE


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One place that sets a switch and can be edited."""

    name: str
    """The variable."""
    file: TreeFile
    address: Address
    """Of the value."""
    entry: Address | None
    """Of the `env` entry in its list; None for a ConfigMap's key and for a patch operation."""
    value: str | None
    owner: str
    """`Deployment torghut-scheduler`."""
    is_operation: bool = False
    """Whether it is the value of a JSON patch operation, beside which nothing can be put."""

    @property
    def surroundings(self) -> Address:
        """The address of the list or mapping that holds a process's variables, this one among them."""
        return self.address[:-1] if self.entry is None else self.entry[:-1]


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """One file that sets, or may set, a switch in a way that cannot be edited."""

    path: str
    why: str
    is_unreadable: bool = False
    """Whether it is not even known what the file sets."""

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Everything found for one variable."""

    name: str
    settings: tuple[Setting, ...]
    blocked: tuple[Blocked, ...]

    def value_in(self, path: str) -> str | None:
        """Return the value set in one file, None when it sets none."""
        return next((setting.value for setting in self.settings if setting.file.path == path), None)
