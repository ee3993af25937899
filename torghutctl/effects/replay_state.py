"""What is remembered of a replay between calls: one small file per environment and id, replaced in one step."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torghutctl.errors import InputError


@dataclass(frozen=True)
class ReplayState:
    """The file of one replay."""

    path: Path

    def read(self) -> dict[str, Any]:
        """Return what is remembered, nothing for a replay that has not begun. Raises InputError when it is damaged."""
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: cannot be read", hint="move it away; git and the journal know the rest"
            ) from error
        if not isinstance(value, dict) or not isinstance(value.get("steps", []), list):
            raise InputError(
                f"{self.path}: is no replay's state", hint="move it away; git and the journal know the rest"
            )
        return value

    def add_step(self, step: Mapping[str, Any], **remembered: Any) -> None:
        """Append a step and keep `remembered` beside it."""
        current = self.read()
        merged = {**current, **remembered, "steps": [*current.get("steps", []), dict(step)]}
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        with scratch.open("w", encoding="utf-8") as file:
            file.write(json.dumps(merged, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.path)
