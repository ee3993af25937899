"""Which manifest is the process that submits orders: read from what a workload is, not from its file's name.

Where there is a scheduler Deployment it is that one, and the Knative Service beside it only serves the API: its switch is
always off and is never turned on. Elsewhere it is the Knative Service.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torghutctl.planning.yaml_document import Address, UneditableError, YamlFile, is_sequence, parse
from torghutctl.procedures.switches import ENABLED, KNATIVE_FILE, Setting
from torghutctl.snapshot.facts import SCHEDULER
from torghutctl.snapshot.repository import Tree, TreeFile

ROLE = "TORGHUT_PROCESS_ROLE"
API_ROLES = frozenset({"api"})
_YAML = (".yaml", ".yml", ".json")
_MAIN_CONTAINERS = ("user-container", "torghut", SCHEDULER)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One workload's manifest, and the container that is the process."""

    kind: str
    name: str
    file: TreeFile
    index: int
    container: Address

    @property
    def owner(self) -> str:
        """As a `Setting` names who owns it."""
        return f"{self.kind} {self.name}"

    @property
    def is_deployment(self) -> bool:
        return self.kind == "Deployment"

    def has_taken(self, wanted: str) -> str:
        """Return the sentence that says it runs with what was changed."""
        if self.is_deployment:
            return f"the Deployment {self.name} is rolled out with {wanted}"
        return f"the Knative Service {self.name} is Ready on a new revision that has {wanted}"


def trading_workload(tree: Tree, service: str) -> Workload | None:
    """Return the workload that submits orders; None where the tree has none that can be read, or several.

    `service` is the name of the Knative Service.
    """
    found = list(_workloads(tree))
    schedulers = [item for item in found if item.is_deployment and _is_scheduler(item)]
    if schedulers:
        called_so = [item for item in schedulers if item.name == SCHEDULER] or schedulers
        return called_so[0] if len(called_so) == 1 else None
    own_path = f"{tree.folder}/{KNATIVE_FILE}" if tree.folder else KNATIVE_FILE
    services = [item for item in found if item.kind == "Service"]
    named = [item for item in services if item.name == service] or [i for i in services if i.file.path == own_path]
    return min(named, key=lambda item: (item.file.path != own_path, item.file.path), default=None)


def relative_path(tree: Tree, path: str) -> str:
    """Return a file's path relative to the gitops path."""
    return path.removeprefix(f"{tree.folder}/") if tree.folder else path


def is_api_only(setting: Setting) -> bool:
    """Tell whether a setting stands in a container whose role submits no order."""
    if setting.entry is None:
        return False
    yaml = parse(setting.file.path, setting.file.data)
    return _entry(yaml, setting.entry[:-1], ROLE) in API_ROLES


def _workloads(tree: Tree) -> Iterator[Workload]:
    for file in tree.files.values():
        if not file.path.endswith(_YAML) or b"containers" not in file.data:
            continue
        try:
            yaml = parse(file.path, file.data)
        except UneditableError:
            continue
        for kind in ("Deployment", "Service"):
            for index in yaml.find(kind):
                container = main_container(yaml, index)
                if container is not None:
                    name = yaml.value((index, "metadata", "name")) or ""
                    yield Workload(kind=kind, name=name, file=file, index=index, container=container)


def _is_scheduler(item: Workload) -> bool:
    yaml = parse(item.file.path, item.file.data)
    env = (*item.container, "env")
    role = _entry(yaml, env, ROLE)
    if role in API_ROLES:
        return False
    return item.name == SCHEDULER or (role in ("scheduler", "all") and _entry(yaml, env, ENABLED) is not None)


def main_container(yaml: YamlFile, index: int) -> Address | None:
    """Return the address of a workload's main container: the one of a known name, else the first."""
    containers: Address = (index, "spec", "template", "spec", "containers")
    node = yaml.node(containers)
    if not is_sequence(node) or not node.value:
        return None
    for position in range(len(node.value)):
        if yaml.value((*containers, position, "name")) in _MAIN_CONTAINERS:
            return (*containers, position)
    return (*containers, 0)


def _entry(yaml: YamlFile, env: Address, name: str) -> str | None:
    node = yaml.node(env)
    for position in range(len(node.value) if is_sequence(node) else 0):
        if yaml.value((*env, position, "name")) == name:
            return yaml.value((*env, position, "value"))
    return None
