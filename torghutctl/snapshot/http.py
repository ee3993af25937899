"""From an HTTP exchange to a value or a failure: the one place where statuses and broken bodies become `Failure`s."""

from __future__ import annotations

import json
from typing import Any

from torghutctl.adapters.http_client import Answer, ExchangeError, Trouble
from torghutctl.snapshot.model import Failure

_TROUBLES = {
    Trouble.TIMEOUT: Failure.TIMEOUT,
    Trouble.UNREACHABLE: Failure.UNREACHABLE,
    Trouble.TRUNCATED: Failure.UNPARSABLE,
    Trouble.TOO_LARGE: Failure.UNPARSABLE,
}


class ReadError(Exception):
    """A source gave no value. `detail` is our own sentence, free of upstream text."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


def from_exchange(error: ExchangeError) -> ReadError:
    """Return the failure an unfinished exchange stands for."""
    return ReadError(_TROUBLES[error.trouble], error.detail)


def refuse_status(answer: Answer) -> None:
    """Raise ReadError unless the status is 2xx."""
    if 200 <= answer.status < 300:
        return
    if answer.status in (401, 403):
        raise ReadError(Failure.FORBIDDEN, f"HTTP {answer.status}")
    if answer.status in (404, 410):
        raise ReadError(Failure.ABSENT, f"HTTP {answer.status}")
    raise ReadError(Failure.UPSTREAM, f"HTTP {answer.status}")


def parse_json(answer: Answer) -> Any:
    """Return the body as JSON. Raises ReadError when it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise ReadError(Failure.UNPARSABLE, "the answer is not JSON") from error


def mapping(value: Any, what: str = "the answer") -> dict[str, Any]:
    """Return `value` when it is a JSON object. Raises ReadError otherwise."""
    if not isinstance(value, dict):
        raise ReadError(Failure.UNPARSABLE, f"{what} is not a JSON object")
    return value


def service_answer(answer: Answer, *, also: frozenset[int] = frozenset()) -> dict[str, Any]:
    """Return the JSON object a service answered with status 2xx or one of `also`.

    Behind a proxy of the Kubernetes API an error can be the API server's own: a `Status` object is never the service's.
    """
    if answer.status not in also:
        refuse_status(answer)
        return mapping(parse_json(answer))
    try:
        value = mapping(parse_json(answer))
    except ReadError:
        raise ReadError(Failure.UPSTREAM, f"HTTP {answer.status}") from None
    if value.get("kind") == "Status":
        raise ReadError(Failure.UPSTREAM, f"HTTP {answer.status} from the API server's proxy")
    return value
