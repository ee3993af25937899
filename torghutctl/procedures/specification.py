"""What a procedure is: a `SPEC` that teaches, and a pure `plan` from what was read to a draft."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from torghutctl.environments import DEFAULT_NAME, Environment
from torghutctl.planning.opaque import UNDER_MAC, is_under_mac
from torghutctl.planning.plan import Draft, FileEdit, ScalarChange
from torghutctl.planning.yaml_document import Address, UneditableError, YamlFile, parse, show
from torghutctl.planning.yaml_edit import insert_named_item, set_scalar
from torghutctl.snapshot.model import Snapshot
from torghutctl.snapshot.repository import HistoryEntry, Tree, TreeFile

_READING_OPTIONS = frozenset({"--config", "--repo", "--base", "--gitops-path", "--kubeconfig", "--context"})
_ACTING_OPTIONS = frozenset({"--audit-log"})


class Danger(StrEnum):
    """How a procedure acts."""

    GITOPS = "gitops"
    EMERGENCY = "emergency"
    DESTRUCTIVE = "destructive"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What an operator must know of a procedure; its help, its runbook and its AgentRun template come from here."""

    name: str
    summary: str
    when: str
    needs: str
    does: str
    verify: str
    undo: str
    danger: Danger = Danger.GITOPS
    paths: tuple[str, ...] = ()
    """Files it may change, relative to the gitops path; `*` where any manifest may be concerned."""
    is_stop: bool = False
    """Whether it only stops something, so that a contradicting open pull request must not hold it up."""
    is_start: bool = False
    """Whether it starts or brings back something: off a terminal it is carried out only as a plan that was looked at."""
    needs_cluster: bool = False
    """Whether it cannot be planned without what the cluster says."""
    is_stamped: bool = False
    """Whether it writes --at (or now) into the change, so that the same plan needs the same --at."""
    needs_history: tuple[str, ...] = ()
    """Files whose history it reads, relative to the gitops path."""
    history_of: Callable[[Tree], tuple[str, ...]] | None = None
    """Further such files, which only the tree tells."""

    def help_text(self) -> str:
        """Return the text of --help."""
        parts = (("When", self.when), ("Needs", self.needs), ("Does", self.does), ("Verify", self.verify))
        body = "\n\n".join(f"{title}: {text}" for title, text in (*parts, ("Undo", self.undo)))
        return f"{self.summary}\n\n{body}\n\nWithout --branch, --pr or --act only the plan is shown."


@dataclass(frozen=True, kw_only=True)
class PlanningInput:
    """Everything a plan may rest on."""

    tree: Tree
    environment: Environment
    at_ns: int
    options: tuple[tuple[str, str], ...] = ()
    """The options that say where all this is, as they were given."""
    snapshot: Snapshot | None = None
    """None when nothing of the system was read."""
    snapshot_failure: str = ""
    """Why there is no snapshot, when one was asked for."""
    history: Mapping[str, tuple[HistoryEntry, ...]] = field(default_factory=dict)
    """Newest first, by path relative to the gitops path."""

    @property
    def namespace(self) -> str:
        return self.environment.names.namespace

    def undo(self, spec: Spec, *words: str) -> str:
        """Return the command line that undoes `spec` here by a pull request, ready to paste."""
        return self.look(*words, "--reason", f"undo {spec.name}", "--pr", besides=_ACTING_OPTIONS)

    def look(self, *words: str, besides: frozenset[str] = frozenset()) -> str:
        """Return the command line of a command that reads here, ready to paste."""
        where = [word for pair in self.options if pair[0] in _READING_OPTIONS | besides for word in pair]
        name = self.environment.name
        return shlex.join(["torghutctl", *words, *(("-e", name) if name != DEFAULT_NAME else ()), *where])


@dataclass
class FileEditor:
    """Collects the scalar edits of one file. The file is parsed once per edit, each edit proven."""

    source: TreeFile
    yaml: YamlFile
    changes: list[ScalarChange] = field(default_factory=list)

    @classmethod
    def open(cls, source: TreeFile) -> FileEditor:
        """Open a file to be edited. Raises UneditableError when it cannot be read, or SOPS vouches for its content."""
        yaml = parse(source.path, source.data)
        if is_under_mac(yaml):
            raise UneditableError(source.path, UNDER_MAC, hint="change it with sops, by a reviewed change of its own")
        return cls(source=source, yaml=yaml)

    def set(self, address: Address, wanted: str, *, label: str, is_text: bool, is_restart: bool = False) -> None:
        """Plan one scalar; nothing happens when it is already so."""
        before = self.yaml.value(address)
        edited = set_scalar(self.yaml, address, wanted, is_text=is_text)
        if edited is not self.yaml:
            self._note(edited, address, label, before, wanted, is_restart=is_restart)

    def add_after(self, sibling: Address, name: str, value: str, *, label: str) -> None:
        """Plan a new `{name, value}` entry behind the list item at `sibling`."""
        edited = insert_named_item(self.yaml, sibling, name, value)
        position = int(sibling[-1]) + 1
        self._note(edited, (*sibling[:-1], position, "value"), label, None, value)

    def edit(self) -> FileEdit | None:
        """Return the file's edit, None when nothing changed."""
        after = self.yaml.data
        if after == self.source.data:
            return None
        return FileEdit(
            path=self.source.path, blob=self.source.blob, mode=self.source.mode, before=self.source.data, after=after
        )

    def _note(
        self,
        edited: YamlFile,
        address: Address,
        label: str,
        before: str | None,
        after: str,
        *,
        is_restart: bool = False,
    ) -> None:
        self.yaml = edited
        self.changes.append(
            ScalarChange(
                path=self.source.path, address=address, label=label, before=before, after=after, is_restart=is_restart
            )
        )


def open_manifest(given: PlanningInput, relative: str, kind: str, name: str | None = None) -> tuple[FileEditor, int]:
    """Return an editor for the manifest at `relative` and the index of its document of this kind.

    Raises UneditableError when the file is missing or does not hold exactly one such document.
    """
    source = given.tree.file(relative)
    if source is None:
        raise UneditableError(
            f"{given.tree.folder}/{relative}",
            "is not in the repository at the base",
            hint="check --gitops-path and --base",
        )
    editor = FileEditor.open(source)
    found = editor.yaml.find(kind, name) or editor.yaml.find(kind)
    if len(found) != 1:
        what = f"{kind} {name}" if name else kind
        raise UneditableError(source.path, f"holds {len(found)} documents of kind {what}, not one")
    return editor, found[0]


def draft_of(editors: list[FileEditor], draft: Draft) -> Draft:
    """Return `draft` with the editors' files and changes."""
    from dataclasses import replace

    edits = tuple(edit for editor in editors if (edit := editor.edit()) is not None)
    changes = tuple(change for editor in editors for change in editor.changes)
    return replace(draft, edits=edits, changes=changes)


__all__ = [
    "Danger",
    "FileEditor",
    "PlanningInput",
    "Spec",
    "UneditableError",
    "draft_of",
    "open_manifest",
    "show",
]
