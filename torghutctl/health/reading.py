"""Findings about the readings themselves: a required source without a value is unknown, any other is only listed."""

from __future__ import annotations

from torghutctl.health.model import COMPONENTS, Finding, Level
from torghutctl.snapshot import sources
from torghutctl.snapshot.facts import Facts
from torghutctl.snapshot.model import Failure, Reading, Snapshot

_NAMED = 3
_WORDS = {
    Failure.ABSENT: "not there",
    Failure.FORBIDDEN: "refused to this reader",
    Failure.TIMEOUT: "no answer in time",
    Failure.UNREACHABLE: "out of reach",
    Failure.UPSTREAM: "an error for an answer",
    Failure.UNPARSABLE: "an answer that does not parse",
    Failure.NOT_PRESENT: "no counterpart here",
}


def describe(reading: Reading) -> str:
    """Return a failed reading as one line of evidence."""
    detail = f" ({reading.detail})" if reading.detail else ""
    return f"{reading.source}: {_WORDS[reading.failure or Failure.UNREACHABLE]}{detail}"


def asked(snapshot: Snapshot) -> list[Reading]:
    """Return the readings of the running system that this target can have."""
    return [
        item
        for name, item in snapshot.readings.items()
        if name not in sources.TOLD and item.failure is not Failure.NOT_PRESENT
    ]


def is_left_out(item: Reading) -> bool:
    """Tell whether a source is absent where nobody needs it to be there."""
    return item.failure is Failure.ABSENT and sources.describe(item.source).may_be_absent


def nothing_read(snapshot: Snapshot) -> str | None:
    """Return why nothing at all of the system could be read, in one sentence; None when anything was.

    It says which server was asked and what named it.
    """
    readings = asked(snapshot)
    if not readings or any(item.is_ok for item in readings):
        return None
    access = snapshot.reading(sources.ACCESS).value or {}
    server = f" from {access['server']} ({access['where']})" if access else ""
    nothing = f"nothing of the system can be read{server}:"
    kinds = {(item.failure, item.detail) for item in readings}
    failure, detail = next(iter(kinds))
    if len(kinds) > 1 or failure is None:
        return f"{nothing} none of {len(readings)} sources gave an answer that can be used"
    return f"{nothing} {_WORDS[failure]} ({detail}), all {len(readings)} sources"


def components_read(snapshot: Snapshot) -> frozenset[str]:
    """Return the components of which anything at all was read; the list of pods tells of all that have pods there."""
    read = {sources.describe(item.source).component for item in asked(snapshot) if item.is_ok}
    has_pods = snapshot.reading(sources.PODS).is_ok
    return frozenset(read | ({"forwarder", "ta", "clickhouse", "keeper", "postgres", "trading"} if has_pods else set()))


def required(facts: Facts, component: str, source: str) -> list[Finding]:
    """Return `unreadable` when the required `source` has no value."""
    reading = facts.reading(source)
    if reading.is_ok or reading.failure is Failure.NOT_PRESENT:
        return []
    return [unknown(component, [reading])]


def unknown(component: str, readings: list[Reading]) -> Finding:
    """Return the `unreadable` finding of required readings that failed."""
    reads = sources.describe(readings[0].source).reads
    word = _WORDS[readings[0].failure or Failure.UNREACHABLE]
    return Finding(
        component=component,
        reason="unreadable",
        level=Level.UNKNOWN,
        message=f"cannot be read: {reads}; {word}",
        evidence=tuple(describe(reading) for reading in readings),
    )


def also_unread(component: str, readings: list[Reading]) -> list[Finding]:
    """Return, as info, members of a required family that failed while enough of the others answered."""
    if not readings:
        return []
    reads = sources.describe(readings[0].source).reads
    return [
        Finding(
            component=component,
            reason="unreadable",
            level=Level.INFO,
            message=f"not every one was read: {reads}; not {_named(readings)}",
            evidence=tuple(describe(reading) for reading in readings),
        )
    ]


def _named(readings: list[Reading]) -> str:
    names = [reading.source for reading in readings]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def listed(facts: Facts) -> list[Finding]:
    """Return, as info, one finding per component for its sources that are not required and could not be read."""
    missing: dict[str, list[Reading]] = {}
    for name, reading in facts.snapshot.readings.items():
        source = sources.describe(name)
        if reading.is_ok or reading.failure is Failure.NOT_PRESENT or source.is_required:
            continue
        if reading.failure is Failure.ABSENT and source.may_be_absent:
            continue
        missing.setdefault(source.component, []).append(reading)
    return [
        Finding(
            component=component,
            reason="unreadable",
            level=Level.INFO,
            message=f"not required and not read: {_named(failed)}",
            evidence=tuple(describe(item) for item in failed),
        )
        for component, failed in sorted(missing.items(), key=lambda item: COMPONENTS.index(item[0]))
    ]
