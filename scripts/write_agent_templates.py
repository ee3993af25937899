"""Write `agentruns/*.yaml` from the procedures; a test compares, so run this after a `SPEC` changed."""

from __future__ import annotations

from pathlib import Path

from torghutctl.commands.agentruns import template_text
from torghutctl.procedures.agent_templates import agent_run, implementation_spec
from torghutctl.procedures.catalogue import SPECS

FOLDER = Path(__file__).resolve().parents[1] / "agentruns"


def main() -> None:
    for name, spec in SPECS.items():
        (FOLDER / f"{name}.agentrun.yaml").write_text(template_text(agent_run(spec)), encoding="utf-8")
        (FOLDER / f"{name}.implementationspec.yaml").write_text(
            template_text(implementation_spec(spec)), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
