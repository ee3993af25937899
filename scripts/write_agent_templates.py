"""Write `agentruns/*.yaml` from the procedures; a test compares, so run this after a `SPEC` changed."""

from __future__ import annotations

from pathlib import Path

from torghutctl.commands.agentruns import template_text
from torghutctl.procedures.agent_policy import policy
from torghutctl.procedures.agent_templates import agent_run, agents, changes_of, implementation_spec
from torghutctl.procedures.catalogue import SPECS

FOLDER = Path(__file__).resolve().parents[1] / "agentruns"
_POLICY_HEAD = (
    "# What the platform itself does not compare: label values, the confirmation, the plan's digest, and that none of them\n"
    "# changes after a run was accepted. Written by scripts/write_agent_templates.py.\n"
)


def files() -> dict[str, str]:
    """Return every file of the folder by its name."""
    changes = changes_of(SPECS)
    found = {
        "agents.yaml": "---\n".join(template_text(item) for item in agents()),
        "policy.yaml": _POLICY_HEAD + "---\n".join(template_text(item) for item in policy(changes)),
    }
    for change in changes.values():
        for purpose in change.purposes:
            found[f"{change.name}.{purpose}.implementationspec.yaml"] = template_text(
                implementation_spec(change, purpose)
            )
            found[f"{change.name}.{purpose}.agentrun.yaml"] = template_text(agent_run(change, purpose))
    return found


def main() -> None:
    written = files()
    for path in FOLDER.glob("*.yaml"):
        if path.name not in written and path.name not in ("rbac.yaml", "kustomization.yaml"):
            path.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
