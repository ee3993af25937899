"""Go back to an earlier image of the trading service: image, version and commit together, from the file's own history."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torghut_core.rfc3339 import format_ns
from torghutctl.errors import InputError, RefusedError
from torghutctl.planning.plan import Draft, Precondition
from torghutctl.planning.yaml_document import Address, UneditableError, YamlFile, is_sequence, parse
from torghutctl.procedures.evidence import not_known, read_source
from torghutctl.procedures.specification import PlanningInput, Spec, draft_of, open_manifest
from torghutctl.procedures.switches import KNATIVE_FILE
from torghutctl.procedures.verification import Check, image_checks
from torghutctl.snapshot.repository import HistoryEntry

SPEC = Spec(
    name="rollback-image",
    summary="Go back to an earlier image of the trading service.",
    when="the newest revision fails or crashes, or misbehaves since a release.",
    needs="the system, live (or --from-snapshot for a mere plan): the Knative Service must be readable.",
    does="puts an earlier image digest from the history of knative-service.yaml back, with the TORGHUT_VERSION and "
    "TORGHUT_COMMIT that went with it. --list shows the last ones; --to chooses; without it the newest one that was "
    "not itself rolled back is taken.",
    verify="the newest revision is Ready with that digest, /healthz and /trading/health answer 200.",
    undo="roll forward: torghutctl rollback-image --to the digest that was replaced.",
    paths=(KNATIVE_FILE,),
    needs_cluster=True,
    needs_history=(KNATIVE_FILE,),
)
_IMAGES = re.compile(r"^[^#\n]*?\bimage[\"']?\s*:\s*[\"']?([^\s\"',}]+)", re.M)
_PINNED = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOVED_TOGETHER = ("TORGHUT_VERSION", "TORGHUT_COMMIT")


@dataclass(frozen=True, kw_only=True)
class Release:
    """One image the file has had."""

    image: str
    variables: Mapping[str, str]
    commit: str
    at: str
    was_rolled_back: bool

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
    for image, entry in runs:
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
            )
        )
    return listed


def plan(given: PlanningInput, *, to: str | None = None) -> Draft:
    """Return the draft. Raises InputError when the history has no such image."""
    editor, index = open_manifest(given, KNATIVE_FILE, "Service", given.environment.names.service)
    container = _container(editor.yaml, index)
    current = editor.yaml.value((*container, "image")) or ""
    known = releases(given.history.get(KNATIVE_FILE, ()), 50)
    target = _choose(given, known, current, to)
    editor.set((*container, "image"), target.image, label="image", is_text=True)
    for name, address in _entries(editor.yaml, container, _MOVED_TOGETHER):
        wanted = target.variables.get(name)
        if wanted is None:
            raise UneditableError(
                editor.source.path,
                f"the version at {target.commit[:12]} sets no {name}",
                hint="choose another with --to",
            )
        editor.set(address, wanted, label=name, is_text=True)
    return draft_of(
        [editor],
        Draft(
            preconditions=(
                _service_read(given),
                Precondition(
                    name="the chosen image was not rolled back before",
                    ok=not target.was_rolled_back,
                    detail=f"{target.digest[:19]} of {target.at}"
                    + (", which was rolled back once: look why" if target.was_rolled_back else ""),
                    refuses=False,
                ),
            ),
            verification=(
                f"the newest revision of {given.environment.names.service} is Ready with {target.digest}",
                "/healthz and /trading/health answer 200",
            ),
            rollback=(_forward(given, current),),
            summary=f"roll the trading image back to {target.variables.get('TORGHUT_VERSION') or target.digest[:19]}",
            risk="A database migration of the newer image stays; look whether the older one understands it.",
        ),
    )


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
        f"refused, nothing was changed: an earlier image: the history of {KNATIVE_FILE} has none by digest that was not "
        "itself rolled back",
        hint=f"{listing} shows what there is; --to chooses one",
    )


def _forward(given: PlanningInput, current: str) -> str:
    found = _DIGEST.search(current)
    if found is None:
        return f"put {current} back by a reviewed change: it has no digest that --to could name"
    return given.undo(SPEC, "rollback-image", "--to", found.group())


def _container(yaml: YamlFile, index: int) -> Address:
    containers: Address = (index, "spec", "template", "spec", "containers")
    node = yaml.node(containers)
    if not is_sequence(node) or not node.value:
        raise UneditableError(yaml.path, "has no containers")
    for position in range(len(node.value)):
        if yaml.value((*containers, position, "name")) in ("user-container", "torghut"):
            return (*containers, position)
    return (*containers, 0)


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
        try:
            yaml = parse(KNATIVE_FILE, data)
            named = [yaml.value((*_container(yaml, _document(yaml)), "image")) or ""]
        except UneditableError:
            return ""
    return named[0] if named and _PINNED.fullmatch(named[0]) else ""


def _document(yaml: YamlFile) -> int:
    """Return the index of the Service that has containers. Raises UneditableError when there is none."""
    containers = ("spec", "template", "spec", "containers")
    for index in yaml.find("Service"):
        if is_sequence(yaml.node((index, *containers))):
            return index
    raise UneditableError(yaml.path, "has no containers")


def _variables(entry: HistoryEntry) -> dict[str, str]:
    try:
        yaml = parse(KNATIVE_FILE, entry.data)
        pairs = _entries(yaml, _container(yaml, _document(yaml)), _MOVED_TOGETHER)
    except UneditableError:
        return {}
    return {name: value for name, address in pairs if (value := yaml.value(address)) is not None}


def _service_read(given: PlanningInput) -> Precondition:
    name = "the trading service can be read"
    reading = read_source(given, "trading/service")
    if not isinstance(reading.value, dict):
        return not_known(name, reading)
    detail = f"newest created {reading.value.get('newestCreated')}, newest ready {reading.value.get('newestReady')}"
    return Precondition(name=name, ok=True, detail=detail, value="read")


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the change to be true."""
    return image_checks(given)
