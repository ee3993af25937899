"""Where a trading switch is set: every place under the gitops path, editable or not.

A switch is set by an `env` entry, a ConfigMap's key, a JSON patch operation, or by text that only its owner can edit (a
patch in a block of text, a generator's literal, an `.env` file, a value from elsewhere). All are found; none is passed
over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from torghutctl.planning.opaque import UNDER_MAC, is_ciphertext, is_under_mac, why_opaque
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
from torghutctl.procedures.patch_operations import patched_values, pointer_of, texts_that_patch
from torghutctl.procedures.switches import Blocked, Setting, Switches, is_false
from torghutctl.snapshot.repository import Tree, TreeFile

_YAML_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_DECIDING_SUFFIXES = frozenset({*_YAML_SUFFIXES, ".env", ".properties", ""})
_PROSE_SUFFIXES = frozenset({".md", ".rst", ".txt", ".adoc"})
_SECRET_KINDS = frozenset({"Secret", "SealedSecret", "ExternalSecret"})
_TRADING_PROCESS = re.compile(r"\btrading\b|\bTRADING_[A-Z_]+\b")


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """A value that a workload takes from a ConfigMap."""

    path: str
    place: str
    config_map: str
    key: str
    """The key that has to be there; empty where the workload takes every key."""


@dataclass
class _Findings:
    """What the search has come to so far."""

    name: str
    word: re.Pattern[str]
    settings: list[Setting] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    references: list[_Reference] = field(default_factory=list)
    pointers: set[str] = field(default_factory=set)
    """JSON pointers of the variable's entries, by which a patch may mean them without naming them."""

    def block(self, path: str, why: str, *, is_unreadable: bool = False) -> None:
        self.blocked.append(Blocked(path=path, why=why, is_unreadable=is_unreadable))


def find_switch(tree: Tree, name: str) -> Switches:
    """Return every place under the tree's folder that sets the variable `name`."""
    found = _Findings(name=name, word=re.compile(rf"(?<![A-Za-z0-9_]){name}(?![A-Za-z0-9_])"))
    for file in tree.files.values():
        opaque = why_opaque(file.data) if _suffix(file.path) in _DECIDING_SUFFIXES else None
        if opaque is not None:
            found.block(file.path, opaque, is_unreadable=True)
        elif _mentions(found, file.data):
            _search_file(found, file)
        elif b"ENC[AES256_GCM," in file.data and _suffix(file.path) in _YAML_SUFFIXES:
            _search_ciphertext(found, file)
        elif b"envFrom" in file.data and _suffix(file.path) in _YAML_SUFFIXES:
            _search_references(found, file)
    _follow_patches(found, tree)
    _follow_references(found, tree)
    _follow_links(found, tree)
    return Switches(name=name, settings=tuple(found.settings), blocked=tuple(dict.fromkeys(found.blocked)))


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _mentions(found: _Findings, data: bytes) -> bool:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return found.name in data.decode("utf-16", "replace")
    return found.name.encode() in data and found.word.search(data.decode("utf-8", "replace")) is not None


def _search_file(found: _Findings, file: TreeFile) -> None:
    suffix = _suffix(file.path)
    if suffix in _PROSE_SUFFIXES:
        return
    if suffix not in _YAML_SUFFIXES:
        if _may_be_on(found, file.data.decode("utf-8", "replace")):
            found.block(file.path, f"sets {found.name} in a file that is not YAML")
        return
    settings, blocked = len(found.settings), len(found.blocked)
    try:
        yaml = parse(file.path, file.data)
        _search_documents(found, file, yaml)
    except UneditableError as error:
        del found.settings[settings:], found.blocked[blocked:]
        found.block(file.path, error.why)
        return
    if is_under_mac(yaml):
        mine = found.settings[settings:]
        del found.settings[settings:]
        # What is off and can be read to be so needs no edit.
        found.settings += [setting for setting in mine if is_false(setting.value)]
        for setting in mine:
            if is_ciphertext(setting.value):
                found.block(file.path, f"{setting.owner} sets {found.name} in ciphertext", is_unreadable=True)
            elif not is_false(setting.value):
                found.block(file.path, f"{setting.owner} sets {found.name}, and it {UNDER_MAC}")


def _search_ciphertext(found: _Findings, file: TreeFile) -> None:
    """Block a workload whose variables' very names are ciphertext; of a Secret the keys are plain."""
    try:
        yaml = parse(file.path, file.data)
    except UneditableError as error:
        found.block(file.path, error.why)
        return
    for index, root in enumerate(yaml.documents):
        if yaml.value((index, "kind")) in _SECRET_KINDS:
            continue
        names = (node for address, node in walk_nodes(root, (index,)) if address[-1] in ("name", "path"))
        if any(is_scalar(node) and is_ciphertext(str(node.value)) for node in names):
            found.block(file.path, "names its variables in ciphertext", is_unreadable=True)
            return


def _search_documents(found: _Findings, file: TreeFile, yaml: YamlFile) -> None:
    name = found.name
    for index, root in enumerate(yaml.documents):
        kind = yaml.value((index, "kind")) or "document"
        owner = f"{kind} {yaml.value((index, 'metadata', 'name')) or index}"
        for address, node in walk_nodes(root, (index,)):
            if is_sequence(node):
                _search_entries(found, file, yaml, address, owner)
            elif is_mapping(node):
                _search_environment(found, yaml, address)
                if any(key.value == name for key, _ in node.value):
                    _search_key(found, file, yaml, address, owner, is_secret=kind in _SECRET_KINDS)
                elif not isinstance(address[-1], int) and yaml.value((*address, "name")) == name:
                    _search_operation(found, file, yaml, address)
            elif is_scalar(node) and node.value == name and address[-1] == "value":
                # `op: test` says by name what the operations after it mean by place.
                tested = yaml.value((*address[:-1], "path")) or ""
                found.pointers.update({tested.removesuffix("/name")} if tested.endswith("/name") else ())
            elif is_scalar(node) and _is_hidden_in_text(found, address, str(node.value)):
                if str(node.value).endswith(f"/{name}") and address[-1] == "path":
                    _search_operation(found, file, yaml, address[:-1])
                else:
                    found.block(file.path, f"{show(address)} sets {name} inside a text")


def _search_key(
    found: _Findings, file: TreeFile, yaml: YamlFile, mapping: Address, owner: str, *, is_secret: bool
) -> None:
    if is_secret:
        found.block(file.path, f"{owner} sets {found.name} in a secret")
    elif is_scalar(yaml.node((*mapping, found.name))):
        place = (*mapping, found.name)
        value = yaml.value(place)
        found.settings.append(Setting(name=found.name, file=file, address=place, entry=None, value=value, owner=owner))


def _search_operation(found: _Findings, file: TreeFile, yaml: YamlFile, mapping: Address) -> None:
    """Note the value of a JSON patch operation, `value: …` or `value: {name: …, value: …}`."""
    place = (*mapping, "value")
    if yaml.node((*mapping, "valueFrom")) is not None:
        found.block(file.path, f"{show(mapping)} takes {found.name} from elsewhere")
    elif is_scalar(yaml.node(place)):
        setting = Setting(
            name=found.name,
            file=file,
            address=place,
            entry=None,
            value=yaml.value(place),
            owner=f"the patch at {show(mapping)}",
            is_operation=True,
        )
        found.settings.append(setting)


def _search_entries(found: _Findings, file: TreeFile, yaml: YamlFile, sequence: Address, owner: str) -> None:
    node = yaml.node(sequence)
    items = [
        (*sequence, position)
        for position, item in enumerate(node.value if node is not None else [])
        if is_mapping(item) and any(k.value == "name" and is_scalar(v) and v.value == found.name for k, v in item.value)
    ]
    if len(items) > 1:
        found.block(file.path, f"{found.name} stands {len(items)} times in {show(sequence)}")
    if len(items) != 1:
        return
    item = items[0]
    found.pointers.add(pointer_of(item))
    if yaml.node((*item, "valueFrom")) is None:
        value = yaml.value((*item, "value"))
        found.settings.append(
            Setting(name=found.name, file=file, address=(*item, "value"), entry=item, value=value, owner=owner)
        )
        return
    source: Address = (*item, "valueFrom", "configMapKeyRef")
    key, config_map = yaml.value((*source, "key")), yaml.value((*source, "name"))
    if key != found.name or config_map is None:
        found.block(file.path, f"{show(item)} takes {found.name} from elsewhere")
    else:
        found.references.append(_Reference(path=file.path, place=show(item), config_map=config_map, key=key))


def _search_references(found: _Findings, file: TreeFile) -> None:
    """Look for containers that take all of a ConfigMap's keys, in a file that does not name the variable."""
    try:
        yaml = parse(file.path, file.data)
        for index, root in enumerate(yaml.documents):
            for address, node in walk_nodes(root, (index,)):
                if is_mapping(node):
                    _search_environment(found, yaml, address)
    except UneditableError:
        return  # a file that says envFrom and cannot be read names no switch


def _search_environment(found: _Findings, yaml: YamlFile, container: Address) -> None:
    """Note the ConfigMaps whose keys a trading container takes as they are, or with a prefix."""
    sources, node = yaml.node((*container, "envFrom")), yaml.node(container)
    if not is_sequence(sources):
        return
    own = yaml.text[int(node.start_mark.index) : int(node.end_mark.index)]
    entries = yaml.node((*container, "env"))
    positions = range(len(entries.value) if entries is not None and is_sequence(entries) else 0)
    if any(yaml.value((*container, "env", position, "name")) == found.name for position in positions):
        return  # an entry of its own wins over what it takes from elsewhere
    for position in range(len(sources.value)):
        place: Address = (*container, "envFrom", position)
        config_map = yaml.value((*place, "configMapRef", "name"))
        prefix = yaml.value((*place, "prefix")) or ""
        if config_map is None or not found.name.startswith(prefix):
            continue
        if prefix:
            key = found.name.removeprefix(prefix)
            found.references.append(_Reference(path=yaml.path, place=show(place), config_map=config_map, key=key))
        elif _TRADING_PROCESS.search(own):
            found.references.append(_Reference(path=yaml.path, place=show(place), config_map=config_map, key=""))


def _follow_references(found: _Findings, tree: Tree) -> None:
    """Block what takes the variable from a ConfigMap that is not here to be edited, or under another key."""
    if not found.references:
        return
    keys = _config_maps(tree)
    for reference in found.references:
        there = keys.get(reference.config_map)
        if there is None and not _is_generated(tree, reference.config_map):
            found.block(
                reference.path,
                f"{reference.place} takes {found.name} from ConfigMap {reference.config_map}, which is not here",
            )
        elif there is not None and reference.key and reference.key not in there and reference.key == found.name:
            found.block(
                reference.path,
                f"{reference.place} takes {found.name} from ConfigMap {reference.config_map}, which does not have it",
            )
        elif there is not None and reference.key in there and reference.key != found.name:
            found.block(
                reference.path,
                f"{reference.place} takes {found.name} from {reference.key} of ConfigMap {reference.config_map}",
            )


def _config_maps(tree: Tree) -> dict[str, set[str]]:
    """Return the keys of every ConfigMap under the folder, by its name."""
    keys: dict[str, set[str]] = {}
    for file in tree.files.values():
        if _suffix(file.path) not in _YAML_SUFFIXES or b"ConfigMap" not in file.data:
            continue
        try:
            yaml = parse(file.path, file.data)
            for index in yaml.find("ConfigMap"):
                data = yaml.node((index, "data"))
                own = {str(key.value) for key, _ in data.value} if data is not None and is_mapping(data) else set()
                keys.setdefault(yaml.value((index, "metadata", "name")) or "", set()).update(own)
        except UneditableError:
            continue
    return keys


def _is_generated(tree: Tree, config_map: str) -> bool:
    """Tell whether a kustomization's generator makes the ConfigMap: its literals and files are looked at themselves."""
    return any(b"configMapGenerator" in file.data and config_map.encode() in file.data for file in tree.files.values())


def _follow_patches(found: _Findings, tree: Tree) -> None:
    """Find JSON patches that mean an entry by its place in the list, without naming the variable."""
    known = {(setting.file.path, setting.address) for setting in found.settings}
    for file in tree.files.values():
        if _suffix(file.path) not in _YAML_SUFFIXES or not any(p.encode() in file.data for p in found.pointers):
            continue
        try:
            yaml = parse(file.path, file.data)
        except UneditableError as error:
            found.block(file.path, error.why)
            continue
        for place, value in patched_values(yaml, found.pointers):
            if (file.path, place) not in known:
                setting = Setting(
                    name=found.name,
                    file=file,
                    address=place,
                    entry=None,
                    value=value,
                    owner=f"the patch at {show(place[:-1])}",
                    is_operation=True,
                )
                found.settings.append(setting)
        for place, value in texts_that_patch(yaml, found.pointers):
            if value is None or not is_false(value):
                found.block(file.path, f"{show(place)} sets {found.name} inside a text")


def _follow_links(found: _Findings, tree: Tree) -> None:
    """Block links to what lies outside the folder and sets the variable, or cannot be looked at."""
    for link in tree.links:
        verb = "takes in" if link.is_kustomize else "is a link to"
        outside = f"{verb} {link.target}, outside the gitops path"
        if link.contents is None:
            if link.is_kustomize:
                found.block(link.path, f"{outside}, which is not in the repository", is_unreadable=True)
            elif _suffix(link.path) in _YAML_SUFFIXES:
                found.block(link.path, "is a link to something that is not in the repository", is_unreadable=True)
        elif any(why_opaque(data) is not None for data in link.contents):
            found.block(link.path, f"{outside}, which cannot be read", is_unreadable=True)
        elif any(
            _mentions(found, data) and _may_be_on(found, data.decode("utf-8", "replace")) for data in link.contents
        ):
            found.block(link.path, f"{outside}, which sets {found.name}")


def _is_hidden_in_text(found: _Findings, address: Address, text: str) -> bool:
    if text == found.name or address[-1] in ("name", "key") or found.name not in text:
        return False
    return _may_be_on(found, text)


def _may_be_on(found: _Findings, text: str) -> bool:
    """Tell whether text that mentions the variable outside comments may switch it on."""
    body = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    if not found.word.search(body):
        return False
    assigned = re.findall(
        rf"(?<![A-Za-z0-9_]){found.name}[\"']?\s*(?:[=:]|\n?\s*,?\s*[\"']?value[\"']?\s*:)\s*[\"']?(\w*)", body
    )
    return not assigned or any(not is_false(value) for value in assigned)
