"""One way to a snapshot, wherever it comes from: a bundle on disk, a local folder, or a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from torghutctl.errors import InputError
from torghutctl.render.redaction import redact
from torghutctl.snapshot import bundle, cluster, local, sources
from torghutctl.snapshot.model import Reading, Snapshot
from torghutctl.snapshot.target import Target

DEADLINE_SECONDS = 8.0


def read(
    target: Target,
    *,
    at_ns: int | None,
    process: Mapping[str, str] | None = None,
    deadline_s: float = DEADLINE_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> Snapshot:
    """Return the snapshot of `target`; `at_ns` stands for the present when given.

    What the reader was told (environment, repository) is part of what it read, so that a bundle is judged alike
    elsewhere. Raises InputError or ConfigurationError when the target itself cannot be used; a source that fails is a
    reading.
    """
    if target.bundle is not None and target.local is not None:
        raise InputError("--from-snapshot and --local cannot be combined", hint="choose what to read")
    if target.bundle is not None:
        return bundle.read(target.bundle)
    snapshot = _read_live(target, at_ns, process, deadline_s, tell)
    told = {
        "environment": target.environment,
        "repo": target.repo_option,
        "isLiveDeclared": target.is_live_declared,
        "options": [list(pair) for pair in target.options],
    }
    operator = Reading(source=sources.OPERATOR, value=redact(told))
    return replace(snapshot, readings=dict(sorted({**snapshot.readings, sources.OPERATOR: operator}.items())))


def _read_live(
    target: Target,
    at_ns: int | None,
    process: Mapping[str, str] | None,
    deadline_s: float,
    tell: Callable[[str], None],
) -> Snapshot:
    if target.local is not None:
        folder = local.open_folder(target.local)
        tell(f"reading the services of {target.local}")
        observed = at_ns if at_ns is not None else _whole_ms(folder.clock.now_ns())
        return local.read(folder, observed_at_ns=observed, deadline_s=deadline_s, tell=tell)
    tell(f"reading the cluster, namespace {target.names.namespace}")
    return cluster.read(
        target,
        observed_at_ns=at_ns if at_ns is not None else _now_ns(),
        process=os.environ if process is None else process,
        deadline_s=deadline_s,
        tell=tell,
    )


def _now_ns() -> int:
    return _whole_ms(time.time_ns())


def _whole_ms(ns: int) -> int:
    return ns - ns % 1_000_000
