"""From an AgentRun to the one command line that it stands for, or the refusal that says why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torghutctl.errors import RefusedError
from torghutctl.planning.gates import PURPOSE_LABEL
from torghutctl.procedures.agent_checks import problems_of
from torghutctl.procedures.agent_templates import ACTUATION, OWN, Change, command_line
from torghutctl.snapshot.agent_run import AgentRun


@dataclass(frozen=True, kw_only=True)
class AgentCommand:
    """What a run does."""

    change: Change
    purpose: str
    arguments: tuple[str, ...]
    parameters: Mapping[str, str]

    def next_parameters(self, digest: str) -> dict[str, str]:
        """Return the parameters of the actuation run that carries out the plan with this digest."""
        kept = {key: value for key, value in self.parameters.items() if key != "head"}
        return {**kept, "plan": digest}


def command_of(run: AgentRun, changes: Mapping[str, Change]) -> AgentCommand:
    """Return the command of a run.

    Raises RefusedError when the run cannot be read, breaks a rule of `agentruns validate`, or asks for more than the
    platform gave it: a pod without a token that may write never acts, whatever its parameters say.
    """
    hint = "torghutctl agentruns render writes a run that passes"
    if run.document is None:
        raise RefusedError(
            f"{run.source}: {run.failure}, so nothing is done",
            hint="run it inside an AgentRun whose ServiceAccount may get agentruns in its own namespace",
        )
    problems = problems_of(run.document, changes)
    if problems:
        raise RefusedError(f"{run.source}: {'; '.join(problems)}", hint=hint)
    parameters = {key: str(value) for key, value in run.part("spec", "parameters").items()}
    change = changes.get(parameters.get("change", ""))
    if change is None:
        raise RefusedError(f"{run.source}: is no run of torghut", hint=hint)
    purpose = str(run.part("metadata", "labels").get(PURPOSE_LABEL))
    if purpose == ACTUATION and not run.may_write:
        mode = (run.description.get("vcs") or {}).get("mode")
        raise RefusedError(
            f"{run.source}: vcs.mode={mode!r} in run.json: the platform gave this pod no token that may write",
            hint="look at the run's vcsPolicy and the VersionControlProvider's capabilities",
        )
    repo = None if change.spec is None else repository_address(run.description, parameters["repository"])
    arguments = command_line(change, purpose, parameters, repo=repo)
    return AgentCommand(
        change=change,
        purpose=purpose,
        arguments=tuple(arguments),
        parameters={key: value for key, value in parameters.items() if key in OWN or key in change.known(purpose)},
    )


def repository_address(description: Mapping[str, Any], repository: str) -> str:
    """Return the address to clone `owner/name` from. Raises RefusedError where the platform named none, or another."""
    vcs = description.get("vcs")
    given = vcs if isinstance(vcs, Mapping) else {}
    base = given.get("cloneBaseUrl")
    if not isinstance(base, str) or not base or base.startswith("-"):
        raise RefusedError("run.json: vcs.cloneBaseUrl is not given, so the repository has no address")
    if given.get("repository") != repository:
        raise RefusedError(
            f"run.json: vcs.repository={given.get('repository')!r} is not parameters.repository={repository!r}",
            hint="the platform and the run must mean the same repository",
        )
    return f"{base.rstrip('/')}/{repository}.git"
