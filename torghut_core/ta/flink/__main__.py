"""The job's driver, run by the Python that has PyFlink: `python -m torghut_core.ta.flink [JAR…]`.

On a cluster the Flink operator runs it in the job manager, and the jars are in Flink's own lib folder. On this machine
it starts a cluster within one JVM and stays with the job: it says each change of the job's state as a line of JSON on
standard output, takes up the group's newest checkpoint or savepoint, and ends with a savepoint on SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from urllib.parse import unquote, urlparse

from torghut_core import logs
from torghut_core.clock import open_clock
from torghut_core.errors import TorghutError, UpstreamError
from torghut_core.settings import load
from torghut_core.ta.flink.bearings import take_bearings
from torghut_core.ta.flink.installation import check_shared_python
from torghut_core.ta.settings import TaSettings

_LOOK_SECONDS = 0.5
_SAVEPOINT_SECONDS = 20
_ENDED = ("FINISHED", "FAILED", "CANCELED")


def _say(**said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def newest_state(folders: list[str]) -> str | None:
    """Return the newest whole checkpoint or savepoint under local folders (file URIs), None where there is none."""
    found = [
        meta
        for uri in folders
        if uri.startswith("file:")
        for meta in Path(unquote(urlparse(uri).path)).glob("**/_metadata")
    ]
    newest = max(found, key=lambda meta: meta.stat().st_mtime_ns, default=None)
    return None if newest is None else newest.parent.as_uri()


def main(arguments: list[str]) -> int:
    """Build the job and run it."""
    logs.configure()
    settings = load(TaSettings, dict(os.environ))
    open_clock(settings.clock)
    is_local = "PYFLINK_GATEWAY_PORT" not in os.environ
    check_shared_python()
    from torghut_core.ta.flink import graph

    restored = None
    if is_local:
        restored = newest_state([graph.folder_uri(settings, kind) for kind in ("checkpoints", "savepoints")])
    bearings = asyncio.run(take_bearings(settings, is_restored=not is_local or restored is not None))
    configured = graph.configuration(settings, is_local=is_local, restored=restored)
    env = graph.build(settings, bearings.partitions, bearings.starts, configured, [Path(jar) for jar in arguments])
    if not is_local:
        env.execute(settings.group_id)
        return 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    client = env.execute_async(settings.group_id)
    _say(event="started", restored=restored, partitions=bearings.partitions, parallelism=settings.parallelism)
    last, had_task_manager = "", False
    while not stop.wait(_LOOK_SECONDS):
        state = str(client.get_job_status().result().name)
        if state != last:
            last = state
            _say(event="state", state=state)
        if state in _ENDED:
            return 1
        has_task_manager = graph.has_task_manager(client)
        had_task_manager = had_task_manager or has_task_manager is True
        if had_task_manager and has_task_manager is False:
            raise UpstreamError(
                "Flink: its task manager has ended, and within one JVM none comes in its place",
                hint="start it again: it goes on from the newest checkpoint",
            )
    _say(event="stopped", savepoint=graph.stop_with_savepoint(client, settings, _SAVEPOINT_SECONDS))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except TorghutError as error:
        _say(event="failed", message=str(error), hint=error.hint, exit_code=int(error.exit_code))
        sys.exit(int(error.exit_code))
