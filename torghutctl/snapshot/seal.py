"""The last step of every reader: the snapshot as it may be kept, shown and judged. Redacted, plain JSON, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torghutctl.render.redaction import redact, redact_text
from torghutctl.snapshot.model import Names, Reading, Snapshot


def seal(*, observed_at_ns: int, names: Names, target: str, readings: Mapping[str, Reading]) -> Snapshot:
    """Return the snapshot with every value redacted, so that a report judged live and from a bundle sees the same."""
    safe = {
        source: replace(reading, value=redact(reading.value), detail=redact_text(reading.detail))
        for source, reading in sorted(readings.items())
    }
    return Snapshot(observed_at_ns=observed_at_ns, names=names, target=target, readings=safe)
