"""`torghutctl snapshot`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from torghutctl.commands.option_group import with_options
from torghutctl.commands.target_options import TargetOptions
from torghutctl.errors import UpstreamError
from torghutctl.render.streams import tell


@with_options(TargetOptions, without=frozenset(["from_snapshot"]))
def command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="a new folder, or a file that ends in .tar.gz")],
    *,
    options: TargetOptions,
) -> None:
    """Write what health-report would read to a folder or a .tar.gz, redacted.

    The bundle holds no log line, no message, no value of a variable but those of the switches: free text is kept only
    as the name of the known fault it speaks of. A source that cannot be read is recorded as such. Every reading has a
    digest, and so has the index: a bundle that was cut or edited is refused when it is read. That is no signature.

    An older bundle at PATH is written over, anything else is left alone.

    Exit code: 0 written, 9 when nothing at all could be read (the bundle is written all the same), 2 wrong usage.

    \b
    torghutctl snapshot incident.tar.gz -e staging
    torghutctl health-report --from-snapshot incident.tar.gz
    """
    choice = options.choose()
    from torghutctl.health import reading
    from torghutctl.snapshot import bundle, reader

    bundle.refuse_taken(path, "PATH")
    snapshot = reader.read(choice.target, at_ns=choice.at_ns, tell=tell)
    bundle.write(snapshot, path, "PATH")
    asked = [item for item in reading.asked(snapshot) if not reading.is_left_out(item)]
    read = sum(item.is_ok for item in asked)
    missing = ", ".join(f"{item.source} ({item.failure})" for item in asked if item.failure is not None)
    tell(f"wrote {path}: {read} of {len(asked)} sources read{missing and f', not {missing}'}")
    tell(f"read it: torghutctl health-report --from-snapshot {shlex.quote(str(path))}")
    if read == 0:
        why = reading.nothing_read(snapshot) or "nothing was asked"
        raise UpstreamError(why, hint=f"torghutctl health-report --from-snapshot {path} tells it source by source")
