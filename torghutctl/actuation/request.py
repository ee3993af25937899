"""What is asked of the engine, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from torghutctl.adapters.git_user import Credential
from torghutctl.effects.actions import Hands
from torghutctl.effects.forge import Forge
from torghutctl.environments import Environment
from torghutctl.errors import TorghutError
from torghutctl.planning.gates import Intent
from torghutctl.planning.plan import Draft, Plan
from torghutctl.procedures.specification import PlanningInput, Spec
from torghutctl.snapshot.model import Snapshot
from torghutctl.snapshot.repository import Repository


class Effect(StrEnum):
    """What to do with a plan."""

    SHOW = "show"
    BRANCH = "branch"
    PULL_REQUEST = "pull request"
    ACT = "act"


Planner = Callable[[PlanningInput], Draft]
SnapshotReader = Callable[[], Snapshot]
ForgeOpener = Callable[[Repository], Forge]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One procedure, to be planned and perhaps carried out."""

    spec: Spec
    words: tuple[str, ...] = ()
    """The command and its own options, as a command line begins with them."""
    planner: Planner
    arguments: Mapping[str, str]
    """What was chosen beyond the common options; part of the digest."""
    environment: Environment
    repo: str
    base: str
    gitops_path: str
    effect: Effect
    intent: Intent
    at_ns: int
    """The time that the plan is made for."""
    now_ns: int
    """The time that an effect is recorded under; never an option's."""
    options: tuple[tuple[str, str], ...] = ()
    """The options that say where all this is, as they were given: a printed command needs them too."""
    plan_digest: str | None = None
    ticket: str = ""
    audit_path: Path
    actor: str
    """Who asks, as the audit log keeps it: `user@host`."""
    is_draft: bool = False
    labels: tuple[str, ...] = ()
    credential: Credential | None = field(default=None, repr=False)
    read_snapshot: SnapshotReader | None = None
    open_forge: ForgeOpener | None = None
    ask_person: Callable[[Plan, Intent], Intent] | None = None
    """Shows the plan to a person at a terminal and asks for what is missing; None asks nobody."""
    only_a_person: bool = False
    """Whether every effect, not only --act, is for a person at a terminal."""
    second_phrase: str = ""
    """What has to be typed besides, for steps that delete."""
    open_hands: Callable[[], Hands] | None = None
    """How to carry out actions outside git."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The plan, with its result when something was carried out, and what a person should be told besides."""

    plan: Plan
    notes: tuple[str, ...] = ()
    gap: TorghutError | None = None
    """Why the audit log does not tell of it as it should, when it does not."""
