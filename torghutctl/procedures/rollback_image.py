"""Go back to an earlier image of the trading service: image, version and commit together, from the file's own history."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torghut_core.rfc3339 import format_ns, parse_ns
from torghutctl.environments import Environment
from torghutctl.errors import InputError, RefusedError
from torghutctl.planning.plan import Draft, Precondition
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
from torghutctl.procedures.evidence import not_known, read_source
from torghutctl.procedures.specification import FileEditor, PlanningInput, Spec, draft_of
from torghutctl.procedures.switches import KNATIVE_FILE
from torghutctl.procedures.trading_workload import Workload, main_container, relative_path, trading_workload
from torghutctl.procedures.verification import Check, image_checks
from torghutctl.snapshot import sources
from torghutctl.snapshot.repository import HistoryEntry, Tree


def history_files(tree: Tree) -> tuple[str, ...]:
    """Return the file whose history tells the releases, relative to the gitops path."""
    workload = trading_workload(tree, Environment().names.service)
    return (KNATIVE_FILE,) if workload is None else (relative_path(tree, workload.file.path),)


SPEC = Spec(
    name="rollback-image",
    summary="Go back to an earlier image of the trading service.",
    when="the newest revision fails or crashes, or misbehaves since a release.",
    needs="the system, live (or --from-snapshot for a mere plan): the workload that trades must be readable.",
    does="puts an earlier image digest back, from the history of the manifest that trades (the scheduler Deployment where "
    "there is one, else knative-service.yaml), in every place under the gitops path that pins the digest it replaces, "
    "with the TORGHUT_VERSION, TORGHUT_COMMIT and TORGHUT_IMAGE_DIGEST that stand beside them. --list shows the last ones; --to chooses; without it the newest one that was "
    "not itself rolled back is taken.",
    verify="the newest pods are Ready with that digest and answer /trading/status.",
    undo="roll forward: torghutctl rollback-image --to the digest that was replaced.",
    paths=("*",),
    is_start=True,
    needs_cluster=True,
    history_of=history_files,
)
_IMAGES = re.compile(r"^[^#\n]*?\bimage[\"']?\s*:\s*[\"']?([^\s\"',}]+)", re.M)
_PINNED = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOVED_TOGETHER = ("TORGHUT_VERSION", "TORGHUT_COMMIT", "TORGHUT_IMAGE_DIGEST", "TORGHUT_IMAGE_PLATFORMS")


@dataclass(frozen=True, kw_only=True)
class Release:
    """One image the file has had."""

    image: str
    variables: Mapping[str, str]
    commit: str
    at: str
    was_rolled_back: bool
    until: str | None = None
    """When another image took its place; None for the current one."""

    @property
    def digest(self) -> str:
        found = _DIGEST.search(self.image)
        return found.group() if found else ""

    def row(self) -> dict[str, str | bool]:
        """Return the release for a listing."""
        return {
            "digest": self.digest,
            "version": self.variables.get("TORGHUT_VERSION", ""),
            "commit": self.variables.get("TORGHUT_COMMIT", ""),
            "deployedBy": self.commit[:12],
            "at": self.at,
            "wasRolledBack": self.was_rolled_back,
        }


def releases(history: Sequence[HistoryEntry], limit: int) -> list[Release]:
    """Return the distinct images of a file's history (newest first), the current one first, at most `limit`.

    An image was rolled back when one that had been there before took its place.
    """
    runs: list[tuple[str, HistoryEntry]] = []
    for entry in history:
        image = _image(entry.data)
        if not runs or runs[-1][0] != image:
            runs.append((image, entry))
        else:
            runs[-1] = (image, entry)
    rolled_back = {
        image
        for position, (image, _) in enumerate(runs)
        if position > 0 and runs[position - 1][0] in {older for older, _ in runs[position + 1 :]}
    }
    seen: set[str] = set()
    listed: list[Release] = []
    for position, (image, entry) in enumerate(runs):
        if not image or image in seen or len(listed) >= limit:
            continue
        seen.add(image)
        listed.append(
            Release(
                image=image,
                variables=_variables(entry),
                commit=entry.commit,
                at=format_ns(entry.committed_at * 1_000_000_000),
                was_rolled_back=image in rolled_back,
                until=format_ns(runs[position - 1][1].committed_at * 1_000_000_000) if position else None,
            )
        )
    return listed


def plan(given: PlanningInput, *, to: str | None = None) -> Draft:
    """Return the draft. Raises InputError when the history has no such image."""
    workload = _workload(given.tree, given.environment.names.service)
    yaml = parse(workload.file.path, workload.file.data)
    current = yaml.value((*workload.container, "image")) or ""
    known = releases(given.history.get(relative_path(given.tree, workload.file.path), ()), 50)
    target = _choose(given, known, current, to)
    editors, places = _move(given.tree, workload, current, target)
    return draft_of(
        editors,
        Draft(
            preconditions=(
                _service_read(given, workload),
                Precondition(
                    name="the chosen image was not rolled back before",
                    ok=not target.was_rolled_back,
                    detail=f"{target.digest[:19]} of {target.at}{_stood(target)}"
                    + (", which was rolled back once: look why" if target.was_rolled_back else ""),
                    refuses=False,
                ),
                *(() if workload.is_deployment else (_ran(given, target),)),
                Precondition(
                    name="every place that pins the image moves",
                    ok=True,
                    detail=f"{len(places)} in {', '.join(sorted({path for path, _ in places}))}",
                    refuses=False,
                ),
            ),
            verification=(
                f"the newest pods of {workload.owner} are Ready with {target.digest}",
                "each of them answers /trading/status with 200",
            ),
            rollback=(_forward(given, current),),
            summary=f"roll the trading image back to {target.variables.get('TORGHUT_VERSION') or target.digest[:19]}",
            risk="A database migration of the newer image stays; look whether the older one understands it.",
        ),
    )


def _stood(target: Release) -> str:
    """Say for how long it was what git wanted: what stood for days speaks for it, what stood for minutes against it."""
    if target.until is None:
        return ""
    hours = (parse_ns(target.until) - parse_ns(target.at)) / 3.6e12
    told = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"
    return f", in git for {told} until {target.until}"


def _workload(tree: Tree, service: str) -> Workload:
    found = trading_workload(tree, service)
    if found is None:
        where = f"{tree.folder}/{KNATIVE_FILE}" if tree.folder else KNATIVE_FILE
        raise UneditableError(where, "there is no one workload that trades", hint="check --gitops-path and --base")
    return found


def _move(
    tree: Tree, workload: Workload, current: str, target: Release
) -> tuple[list[FileEditor], list[tuple[str, str]]]:
    """Return editors that put the target wherever the current digest is pinned, and the places, by file and address.

    A tag that pins nothing is moved in the workload alone. Raises UneditableError when a place cannot be edited.
    """
    digest = _DIGEST.search(current)
    files = [workload.file]
    if digest is not None:
        needle = digest.group().encode()
        files += [f for f in tree.files.values() if f.path != workload.file.path and needle in f.data]
    editors: list[FileEditor] = []
    places: list[tuple[str, str]] = []
    for file in files:
        if not file.path.endswith((".yaml", ".yml", ".json")):
            raise UneditableError(file.path, f"pins {digest.group()[:19] if digest else current} and is not YAML")
        editor = FileEditor.open(file)
        own = workload.container if file.path == workload.file.path else None
        for address in _pins(editor.yaml, digest.group() if digest else None, own):
            before = editor.yaml.value(address) or ""
            wanted = before.replace(digest.group(), target.digest) if digest is not None else target.image
            if before == current:
                wanted = target.image
            editor.set(address, wanted, label=_label(address), is_text=True)
            places.append((file.path, show(address)))
        for container in _containers(editor.yaml, target.image):
            for name, address in _entries(editor.yaml, container, _MOVED_TOGETHER):
                known = target.variables.get(name) or (target.digest if name == "TORGHUT_IMAGE_DIGEST" else None)
                if known is None:
                    raise UneditableError(
                        file.path,
                        f"the version at {target.commit[:12]} sets no {name}",
                        hint="choose another with --to",
                    )
                editor.set(address, known, label=name, is_text=True)
        editors.append(editor)
    return editors, places


def _label(address: Address) -> str:
    return "image" if address[-1] == "image" else show(address)


def _pins(yaml: YamlFile, digest: str | None, own: Address | None) -> list[Address]:
    """Return the addresses of the scalars that pin the image: the workload's own, and every other that has its digest."""
    found: list[Address] = [(*own, "image")] if own is not None else []
    if digest is None:
        return found
    for index, root in enumerate(yaml.documents):
        for address, node in walk_nodes(root, (index,)):
            if is_scalar(node) and address not in found and str(node.value).endswith(digest):
                found.append(address)
    return found


def _containers(yaml: YamlFile, image: str) -> list[Address]:
    """Return every container that runs the image, wherever its pod template stands."""
    return [
        address
        for index, root in enumerate(yaml.documents)
        for address, node in walk_nodes(root, (index,))
        if is_mapping(node) and yaml.value((*address, "image")) == image and yaml.value((*address, "name")) is not None
    ]


def _choose(given: PlanningInput, known: list[Release], current: str, to: str | None) -> Release:
    listing = given.look("rollback-image", "--list")
    if to is not None:
        if not to:
            raise InputError("--to '': must not be empty", hint=listing)
        wanted = to if to.startswith("sha256:") else f"sha256:{to}"
        matches = [release for release in known if release.digest.startswith(wanted)]
        if len(matches) != 1:
            raise InputError(f"--to {to}: {len(matches)} images in the history match", hint=listing)
        return matches[0]
    for release in known:
        if release.image != current and not release.was_rolled_back:
            return release
    raise RefusedError(
        "refused, nothing was changed: an earlier image: the history of the workload's manifest has none by digest that was not "
        "itself rolled back",
        hint=f"{listing} shows what there is; --to chooses one",
    )


def _forward(given: PlanningInput, current: str) -> str:
    found = _DIGEST.search(current)
    if found is None:
        return f"put {current} back by a reviewed change: it has no digest that --to could name"
    return given.undo(SPEC, "rollback-image", "--to", found.group())


def _entries(yaml: YamlFile, container: Address, names: tuple[str, ...]) -> list[tuple[str, Address]]:
    """Return the addresses of the variables' values, refusing one that stands twice."""
    node = yaml.node((*container, "env"))
    found: dict[str, Address] = {}
    for position in range(len(node.value) if is_sequence(node) else 0):
        name = yaml.value((*container, "env", position, "name"))
        if name is not None and name in names:
            if name in found:
                raise UneditableError(yaml.path, f"{name} stands twice in env")
            found[name] = (*container, "env", position, "value")
    return list(found.items())


def _image(data: bytes) -> str:
    """Return the trading container's image when it is pinned by digest; nothing otherwise.

    A file that names one image is read by pattern, which is quick; among several the container decides.
    """
    named = _IMAGES.findall(data.decode("utf-8", "replace"))
    if len(named) > 1:
        container = _container_of(data)
        named = [container[0].value((*container[1], "image")) or ""] if container is not None else []
    return named[0] if named and _PINNED.fullmatch(named[0]) else ""


def _container_of(data: bytes) -> tuple[YamlFile, Address] | None:
    """Return a version of the workload's file and its container; None where it holds no workload."""
    try:
        yaml = parse(KNATIVE_FILE, data)
    except UneditableError:
        return None
    for kind in ("Deployment", "Service"):
        for index in yaml.find(kind):
            container = main_container(yaml, index)
            if container is not None:
                return yaml, container
    return None


def _variables(entry: HistoryEntry) -> dict[str, str]:
    found = _container_of(entry.data)
    if found is None:
        return {}
    yaml, container = found
    try:
        pairs = _entries(yaml, container, _MOVED_TOGETHER)
    except UneditableError:
        return {}
    return {name: value for name, address in pairs if (value := yaml.value(address)) is not None}


def _service_read(given: PlanningInput, workload: Workload) -> Precondition:
    name = "the trading service can be read"
    reading = read_source(given, "trading/scheduler" if workload.is_deployment else "trading/service")
    if not isinstance(reading.value, dict):
        return not_known(name, reading)
    if workload.is_deployment:
        detail = f"{reading.value.get('readyReplicas')} of {reading.value.get('replicas')} ready"
    else:
        detail = f"newest created {reading.value.get('newestCreated')}, newest ready {reading.value.get('newestReady')}"
    return Precondition(name=name, ok=True, detail=detail, value="read")


def _ran(given: PlanningInput, target: Release) -> Precondition:
    """Say what the cluster remembers of the image: which revisions ran it, and whether they were ready."""
    name = "the chosen image ran well"
    reading = read_source(given, sources.TRADING_REVISIONS)
    if not isinstance(reading.value, list):
        return not_known(name, reading, refuses=False)
    ran = [item for item in reading.value if target.digest in f"{item['resolvedImage']} {item['image']}"]
    if not ran:
        detail = "no revision that the cluster still keeps ran it: git's history alone speaks for it"
        return Precondition(name=name, ok=None, detail=detail, refuses=False)
    ready: list[dict[str, Any]] = [
        next((one for one in item["conditions"] if one["type"] == "Ready"), {}) for item in ran
    ]
    lines = [
        f"revision {item['name']}: Ready {state.get('status', 'not told')}"
        + (f", {state['reason']}" if state.get("reason") else "")
        + (f", since {state['since']}" if state.get("since") else "")
        for item, state in zip(ran, ready, strict=True)
    ]
    is_good = any(state.get("status") == "True" for state in ready)
    return Precondition(name=name, ok=is_good, detail="; ".join(lines), refuses=False)


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the change to be true."""
    return image_checks(given)
