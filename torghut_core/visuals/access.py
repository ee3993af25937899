"""Who may read what is private, and who may change anything: token, content type, size, and whose page asks."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from torghut_core.errors import InputError

_MAX_BODY_BYTES = 64 * 1024
_MAX_ACTOR = 64


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who asked for a change: what a request can be known by."""

    who: str
    """The name that the request gave in `X-Torghut-Actor`, else `token`."""
    address: str
    """The peer's address."""
    token_id: str
    """The first 8 hex digits of the token's SHA-256: tells two tokens apart, gives neither away."""


def refusal(status: int, message: str) -> JSONResponse:
    """Return the JSON answer of a request that is not allowed."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"ok": False, "message": message, "error": "refused"}, status_code=status, headers=headers)


def write_refusal(request: Request, token: str | None) -> JSONResponse | None:
    """Return why a request may not change anything, None where it may.

    Without a token the API is read-only. A page of another site can send no JSON without asking first, and a browser says
    whose page it is: both are looked at besides the token.
    """
    if token is None:
        return refusal(403, "the API is read-only: TORGHUT_API_TOKEN is not set where it runs")
    if not _has_token(request, token):
        return refusal(401, "authorization: needs the bearer token of TORGHUT_API_TOKEN")
    if _is_foreign(request):
        return refusal(403, "origin: another site's page may not change symbols")
    if request.method == "DELETE":
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return refusal(415, "content-type: must be application/json")
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        return refusal(411, "content-length: must be given")
    if int(length[:18]) > _MAX_BODY_BYTES:
        return refusal(413, f"body: at most {_MAX_BODY_BYTES} bytes")
    return None


def read_refusal(request: Request, token: str | None) -> JSONResponse | None:
    """Return why a request may not read the account, None where it may.

    On this machine it is open, unless a name of another site leads here (DNS rebinding) or another site's page asks; from
    elsewhere it takes the token.
    """
    if token is not None and _has_token(request, token):
        return None
    peer = request.client.host if request.client is not None else ""
    if _is_loopback(peer):
        if not _is_loopback(_host_name(request)):
            return refusal(403, "host: must be this machine's own name (localhost, 127.0.0.1) without a token")
        if _is_foreign(request):
            return refusal(403, "origin: another site's page may not read the account")
        return None
    if token is None:
        return refusal(403, "from another machine this needs a token, and TORGHUT_API_TOKEN is not set where it runs")
    return refusal(401, "authorization: needs the bearer token of TORGHUT_API_TOKEN")


def actor_of(request: Request, token: str | None) -> Actor:
    """Return who asks. Raises InputError for a name that is too long or not plain text."""
    who = request.headers.get("x-torghut-actor", "").strip() or "token"
    if len(who) > _MAX_ACTOR or not (who.isascii() and who.isprintable()):
        raise InputError(f"x-torghut-actor={who[:20]!r}: must be at most {_MAX_ACTOR} printable ASCII characters")
    return Actor(
        who=who,
        address=request.client.host if request.client is not None else "unknown",
        token_id=hashlib.sha256((token or "").encode()).hexdigest()[:8],
    )


async def json_object(request: Request) -> dict[str, Any]:
    """Return the body. Raises InputError when it is no JSON object."""
    try:
        body = await request.json()
    except (ValueError, RecursionError) as error:
        raise InputError("body: must be JSON") from error
    if not isinstance(body, dict):
        raise InputError("body: must be a JSON object")
    return body


def _has_token(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _is_foreign(request: Request) -> bool:
    if request.headers.get("sec-fetch-site") == "cross-site":
        return True
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def _host_name(request: Request) -> str:
    host = request.headers.get("host", "")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
