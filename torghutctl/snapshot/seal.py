"""The last step of every reader: the snapshot as it may be kept, shown and judged. Redacted, plain JSON, in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import astuple, replace

from torghutctl.render.redaction import MIN_SECRET_LENGTH, own_credentials, redact, redact_text
from torghutctl.snapshot.model import Names, Reading, Snapshot


def seal(
    *,
    observed_at_ns: int,
    names: Names,
    target: str,
    readings: Mapping[str, Reading],
    credentials: Collection[str] = (),
) -> Snapshot:
    """Return the snapshot with every value redacted, so that a report judged live and from a bundle sees the same.

    A credential that is part of a resource's own name (a password like `torghut`) would make the names unreadable and
    hide nothing: it is masked in what is printed, and not here. `credentials` are what the reader itself showed to
    others (a kubeconfig's token), on top of those in the environment.
    """
    shown = {value for value in credentials if len(value) >= MIN_SECRET_LENGTH}
    known = sorted({*own_credentials(), *shown}, key=lambda value: (-len(value), value))
    secrets = tuple(value for value in known if not any(value in name for name in astuple(names)))
    safe = {
        source: replace(reading, value=redact(reading.value, secrets), detail=redact_text(reading.detail, secrets))
        for source, reading in sorted(readings.items())
    }
    return Snapshot(observed_at_ns=observed_at_ns, names=names, target=target, readings=safe)
