"""What may be kept of free text (logs, condition and waiting messages, `last_error`): which known fault it speaks of.

Text is matched where it is read and then dropped. A signature's names are kept only when they are of a closed set, or
when the pod's own spec names them, so that nothing somebody else wrote leaves this module.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

_PATTERNS: tuple[tuple[str, str], ...] = (
    ("alpaca_connection_limit", r"connection limit exceeded|\b406\b[^\n]{0,60}(?:connection|limit)|code[\"': =]+406\b"),
    ("alpaca_auth", r"(?:alpaca|stream|market.data|websocket)[^\n]{0,80}(?:\b40[123]\b|auth failed|unauthori[sz]ed|forbidden)|auth failed|not authenticated"),
    ("kafka_auth", r"Sasl\w*Authentication|SASL authentication|(?:Topic|Group|Cluster|TransactionalId)Authorization"),
    ("kafka_metadata", r"UnknownTopicOrPartition|LeaderNotAvailable|NotLeaderOrFollower|not present in metadata|fetching topic metadata"),
    ("kafka_unreachable", r"InitProducerId|Bootstrap broker|KafkaConnectionError|NotEnoughReplicas|DisconnectException|broker[^\n]{0,60}(?:not available|timed out|disconnected)|kafka[^\n]{0,80}TimeoutException|TimeoutException[^\n]{0,120}(?:kafka|broker|node assignment)"),
    ("disk_full", r"No space left on device|NOT_ENOUGH_SPACE|Cannot reserve [^\n]{0,60}not enough (?:free )?space|not enough (?:free )?(?:disk )?space|\bCode: 243\b"),
    ("table_readonly", r"TABLE_IS_READ_ONLY|in read-?only mode|\bCode: 242\b"),
    ("storage_refused", r"AmazonS3Exception|S3Exception|AccessDenied|Access Denied|NoSuchBucket|InvalidAccessKeyId|SignatureDoesNotMatch|\bs3a?\b[^\n]{0,200}(?:denied|forbidden|\b403\b)|Service: (?:Amazon )?S3[^\n]{0,120}\b403\b"),
    ("not_json_serializable", r"Object of type (?P<type>\w+) is not JSON serializable|(?P<type2>UUID)[^\n]{0,40}not JSON serializable"),
    ("secret_missing", r"secrets? \"(?P<object>[\w.-]+)\" not found"),
    ("configmap_missing", r"configmaps? \"(?P<object>[\w.-]+)\" not found"),
    ("key_missing", r"couldn't find key (?P<key>[\w.-]+) in (?:Secret|ConfigMap) (?:[\w-]+/)?(?P<holder>[\w.-]+)"),
    ("clickhouse_unreachable", r"clickhouse[^\n]{0,120}(?:refused|timed? ?out|unreachable|unavailable)|(?:8123|9000)[^\n]{0,60}refused"),
    ("database_unavailable", r"database (?:is )?unavailable|OperationalError|5432[^\n]{0,60}refused|could not connect to server"),
    ("spec_invalid", r"ValidationException|ReconciliationException|InvalidSpec|IllegalArgumentException|is not supported|cannot be parsed"),
    ("state_incompatible", r"StateMigrationException|incompatible (?:state|serializer)|Failed to rollback to checkpoint"),
    ("out_of_memory", r"OutOfMemoryError|Java heap space|MemoryError"),
    ("manifest_generation", r"[Mm]anifest generation error|failed to generate manifest|ComparisonError"),
    ("timed_out", r"timed out|TimeoutError|deadline exceeded"),
    ("connection_refused", r"[Cc]onnection refused|ECONNREFUSED"),
)  # fmt: skip
SIGNATURES = tuple((name, re.compile(pattern, re.I)) for name, pattern in _PATTERNS)
_TYPES = frozenset({"UUID", "Decimal", "datetime", "date", "bytes", "set", "float32", "float64", "int64", "ndarray"})


def match_signatures(text: str, *, known_names: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the signatures in `text`, the one seen last first: `{"signature", "count", "names"}`.

    A captured name outside `known_names` (what the pod's spec refers to) is left out.
    """
    found: list[tuple[int, dict[str, Any]]] = []
    for name, pattern in SIGNATURES:
        matches = list(pattern.finditer(text))
        if not matches:
            continue
        names = {
            key.rstrip("2"): value
            for key, value in matches[-1].groupdict().items()
            if value and (value in known_names or (key.startswith("type") and value in _TYPES))
        }
        found.append((matches[-1].start(), {"signature": name, "count": len(matches), "names": names}))
    return [entry for _, entry in sorted(found, key=lambda item: (-item[0], item[1]["signature"]))]
