"""Reads an HTTP answer up to a limit, as it stands on the wire: a small one that unpacks to gigabytes is refused."""

from __future__ import annotations

import httpx

from torghut_core.errors import UpstreamError


class TooLongError(UpstreamError):
    """An answer is longer than it may be, or packed though it was asked for plain."""


async def read_limited(response: httpx.Response, limit: int) -> bytes:
    """Return the body of a streamed response, at most `limit` bytes. Raises TooLongError; httpx's errors escape."""
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise TooLongError("an answer is encoded though none was asked for")
    read = bytearray()
    async for chunk in response.aiter_bytes():
        read += chunk
        if len(read) > limit:
            raise TooLongError(f"an answer is longer than {limit} bytes")
    return bytes(read)
