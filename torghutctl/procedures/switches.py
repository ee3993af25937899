"""Where a trading switch is set: every place under the gitops path, editable or not.

A switch is set by an `env` entry, by a ConfigMap's key, or by text that only its owner can edit (a kustomize patch in
a block of text, a generator's literal, an `.env` file, a value from elsewhere). All are found; none is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from torghutctl.planning.yaml_document import (
    Address,
    UneditableError,
    YamlFile,
    is_mapping,
    is_scalar,
    is_sequence,
    parse,
    show,
    walk_nodes,
)
from torghutctl.snapshot.repository import Tree, TreeFile

ENABLED = "TRADING_ENABLED"
KILL_SWITCH = "TRADING_KILL_SWITCH_ENABLED"
MODE = "TRADING_MODE"
LIVE_ENABLED = "TRADING_LIVE_ENABLED"
KNATIVE_FILE = "knative-service.yaml"

_FALSE = frozenset({"false", "0", "no", "off", "f", "n", ""})
_TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})
_YAML_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_PROSE_SUFFIXES = frozenset({".md", ".rst", ".txt", ".adoc"})
_SECRET_KINDS = frozenset({"Secret", "SealedSecret", "ExternalSecret"})


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
    """Of the `env` entry in its list; None for a ConfigMap's key."""
    value: str | None
    owner: str
    """`Deployment torghut-scheduler`."""


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """One file that sets, or may set, a switch in a way that cannot be edited."""

    path: str
    why: str

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


def find_switch(tree: Tree, name: str) -> Switches:
    """Return every place under the tree's folder that sets the variable `name`."""
    word = re.compile(rf"(?<![A-Za-z0-9_]){name}(?![A-Za-z0-9_])")
    settings: list[Setting] = []
    blocked: list[Blocked] = []
    for file in tree.files.values():
        if name.encode() not in file.data or not word.search(file.data.decode("utf-8", "replace")):
            continue
        suffix = PurePosixPath(file.path).suffix.lower()
        if suffix in _PROSE_SUFFIXES:
            continue
        if suffix not in _YAML_SUFFIXES:
            if _may_be_on(name, file.data.decode("utf-8", "replace")):
                blocked.append(Blocked(path=file.path, why=f"sets {name} in a file that is not YAML"))
            continue
        try:
            yaml = parse(file.path, file.data)
            found, hidden = _search(file, yaml, name)
        except UneditableError as error:
            blocked.append(Blocked(path=file.path, why=error.why))
            continue
        settings.extend(found)
        blocked.extend(Blocked(path=file.path, why=why) for why in hidden)
    return Switches(name=name, settings=tuple(settings), blocked=tuple(blocked))


def _search(file: TreeFile, yaml: YamlFile, name: str) -> tuple[list[Setting], list[str]]:
    settings: list[Setting] = []
    hidden: list[str] = []
    for index, root in enumerate(yaml.documents):
        kind = yaml.value((index, "kind")) or "document"
        owner = f"{kind} {yaml.value((index, 'metadata', 'name')) or index}"
        for address, node in walk_nodes(root, (index,)):
            if is_sequence(node):
                found, problem = _entries(file, yaml, name, address, owner)
                settings.extend(found)
                hidden.extend(problem)
            elif is_mapping(node) and any(key.value == name for key, _ in node.value):
                value = yaml.node((*address, name))
                if kind in _SECRET_KINDS:
                    hidden.append(f"{owner} sets {name} in a secret")
                elif is_scalar(value):
                    place = (*address, name)
                    settings.append(
                        Setting(name=name, file=file, address=place, entry=None, value=yaml.value(place), owner=owner)
                    )
            elif is_scalar(node) and _is_hidden_in_text(name, address, str(node.value)):
                hidden.append(f"{show(address)} sets {name} inside a text")
    return settings, hidden


def _entries(
    file: TreeFile, yaml: YamlFile, name: str, sequence: Address, owner: str
) -> tuple[list[Setting], list[str]]:
    node = yaml.node(sequence)
    items = [
        (*sequence, position)
        for position, item in enumerate(node.value if node is not None else [])
        if is_mapping(item) and any(k.value == "name" and is_scalar(v) and v.value == name for k, v in item.value)
    ]
    if not items:
        return [], []
    values = [yaml.value((*item, "value")) for item in items]
    if len(items) > 1:
        return [], [f"{name} stands {len(items)} times in {show(sequence)}"]
    item = items[0]
    if yaml.node((*item, "valueFrom")) is not None:
        return [], list(_reference_problem(yaml, item, name))
    setting = Setting(name=name, file=file, address=(*item, "value"), entry=item, value=values[0], owner=owner)
    return [setting], []


def _reference_problem(yaml: YamlFile, item: Address, name: str) -> Iterator[str]:
    """Yield why a value from elsewhere cannot be edited here; a ConfigMap's key of the same name is found on its own."""
    key = yaml.value((*item, "valueFrom", "configMapKeyRef", "key"))
    if key != name:
        yield f"{show(item)} takes {name} from elsewhere"


def _is_hidden_in_text(name: str, address: Address, text: str) -> bool:
    if text == name or address[-1] in ("name", "key") or name not in text:
        return False
    return _may_be_on(name, text)


def _may_be_on(name: str, text: str) -> bool:
    """Tell whether text that mentions the variable outside comments may switch it on."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    body = "\n".join(lines)
    if not re.search(rf"(?<![A-Za-z0-9_]){name}(?![A-Za-z0-9_])", body):
        return False
    assigned = re.findall(
        rf"(?<![A-Za-z0-9_]){name}[\"']?\s*(?:[=:]|\n?\s*,?\s*[\"']?value[\"']?\s*:)\s*[\"']?(\w*)", body
    )
    return not assigned or any(not is_false(value) for value in assigned)
