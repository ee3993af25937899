"""Where a setting of trading differs between git, cluster, revision and process: how far a change got, and what follows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_ON_OFF = {"1": "true", "yes": "true", "on": "true", "0": "false", "no": "false", "off": "false"}
_FOLLOWS = {
    "TRADING_ENABLED": "It matters: whether orders are sent follows EFFECTIVE",
    "TRADING_KILL_SWITCH_ENABLED": "It matters: whether orders are sent and cancelled follows EFFECTIVE",
    "TRADING_MODE": "It matters: whose money is traded follows EFFECTIVE",
    "TRADING_LIVE_ENABLED": "It matters: whose money is traded follows EFFECTIVE",
    "LLM_ENABLED": "Orders are sent either way; whether entries are reviewed follows EFFECTIVE",
    "LLM_SHADOW_MODE": "Orders are sent either way; whether a review can refuse an entry follows EFFECTIVE",
    "image": "No switch is touched by it; the code that runs is the newest ready revision's",
}


def normal(value: str) -> str:
    """Return a value as it is compared: `1`, `yes` and `on` are `true`."""
    return _ON_OFF.get(value.lower(), value.lower())


def explain(
    name: str,
    *,
    git: str | None,
    live: str | None,
    revision: str | None,
    effective: str | None,
    others: Sequence[str | None] = (),
    sync: str | None = None,
) -> str | None:
    """Return why the columns differ and whether it matters, None where all that is known says the same.

    `others` is what further pods report; `sync` is Argo CD's word for the whole application.
    """
    steps = [(where, normal(said)) for where, said in _columns(git, live, revision, effective) if said is not None]
    processes = {normal(said) for said in (effective, *others) if said is not None}
    parted = next((later[0] for earlier, later in itertools.pairwise(steps) if earlier[1] != later[1]), None)
    if parted is None and len(processes) <= 1:
        return None
    applied = f" (Argo CD says {sync})" if sync else ""
    why = {
        "live": f"merged and not applied{applied}",
        "revision": "applied, and the newest revision was made before it",
        "effective": "the running process was started before it, or its database says otherwise",
        None: "running pods say different things: an older one has not ended",
    }[parted]
    return f"{why}. {_FOLLOWS[name]}."


def _columns(*said: str | None) -> tuple[tuple[str, str | None], ...]:
    return tuple(zip(("git", "live", "revision", "effective"), said, strict=True))
