"""The page's files as `make page` built them, each with its type, its hash and the policy that keeps it to itself."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import FastAPI, Request, Response

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Styles may be inline: the chart sets its own. Scripts may not."""
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_ROUTES = {
    "/": "index.html",
    "/docs": "docs.html",
    "/favicon.ico": "favicon.svg",
    **{
        f"/assets/{name}": name
        for name in ("page.js", "page.css", "docs.js", "docs.css", "favicon.svg", "licences.txt")
    },
}


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file; `tag` changes with its content."""

    content: bytes
    media_type: str
    tag: str


@cache
def asset(name: str) -> Asset:
    """Return a built file by name."""
    content = files("torghut_core.visuals").joinpath("static", name).read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    return Asset(content=content, media_type=_TYPES[name.rsplit(".", 1)[1]], tag=tag)


def add_assets(app: FastAPI) -> None:
    """Give `app` the page, its documentation and what they load; nothing comes from elsewhere."""
    for path, name in _ROUTES.items():
        app.add_api_route(path, _route(name), methods=["GET"], include_in_schema=False)


def _route(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        found = asset(name)
        headers = {**_HEADERS, "ETag": found.tag}
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)

    return serve
