"""Where `agentruns/`, `runbooks/` and `manifests/` are: in the checkout, or inside an installed wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torghutctl.errors import InputError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: Literal["agentruns", "runbooks", "manifests"]) -> Path:
    """Return the folder's path. Raises InputError when the installation lacks it."""
    for candidate in (_PACKAGE / "assets" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise InputError(f"{name}/ is missing from this installation", hint="install the torghut wheel, or use a checkout")
