"""`torghutctl completion bash|zsh|fish`."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.errors import InputError
from torghutctl.render.streams import emit

_SHELLS = ("bash", "zsh", "fish")


def command(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish", autocompletion=lambda: [*_SHELLS])],
) -> None:
    """Write what makes a shell complete commands, options, procedures, reasons, runbooks and environment names.

    Nothing is asked over a network to complete a line.

    \b
    source <(torghutctl completion bash)                                    in ~/.bashrc
    torghutctl completion zsh > "${fpath[1]}/_torghutctl"                   once
    torghutctl completion fish > ~/.config/fish/completions/torghutctl.fish once
    """
    if shell not in _SHELLS:
        raise InputError(f"SHELL {shell!r}: must be one of {', '.join(_SHELLS)}")
    from typer._completion_shared import get_completion_script

    emit(get_completion_script(prog_name="torghutctl", complete_var="_TORGHUTCTL_COMPLETE", shell=shell) + "\n")
