"""Masks secrets in whatever leaves the process.

Sensitive keys, URL user information and queries, authorization headers, PEM blocks, JWTs, and the process's own
credentials (values of environment variables with a secret's name).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

MASK = "(hidden)"
SECRET_KEY = re.compile(
    r"(secret(?!s?_?name)|password|passwd|\bpwd\b|token|api[-_]?key|access[-_]?key|key[-_]?id|authorization|credential"
    r"|private[-_]?key|dsn|cookie|session[-_]?id)",
    re.I,
)
_FOLDERS = frozenset({"PWD", "OLDPWD"})
"""Every shell sets these: working directories, however much they look like passwords."""
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.S)
_JWT = re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*")
_URL_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@", re.I)
_URL_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?\"'<>]+)\?[^\s\"'<>]+", re.I)
_HEADER = re.compile(
    r"((?:authorization|apca-api-[a-z-]+|x-clickhouse-key|x-api-key|cookie)\"?\s*[:=]\s*\"?)(?:(?:bearer|basic|token)\s+)?[^\s\",;]+",
    re.I,
)
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w+/=.~-]{8,}", re.I)
_ASSIGNMENT = re.compile(
    r"(\b[\w-]*(?:secret|password|passwd|token|api[-_]?key|access[-_]?key)[\w-]*\b\"?[^\S\n]*[:=][^\S\n]*\"?)(?!\s|must\b)[^\s\",;}]+",
    re.I,
)
_FORGE_TOKEN = re.compile(r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|AKIA[0-9A-Z]{12,}|sk-[\w-]{16,})\b")
MIN_SECRET_LENGTH = 6


@lru_cache(maxsize=4)
def _secret_values(environment: frozenset[tuple[str, str]]) -> tuple[str, ...]:
    values = {value for key, value in environment if SECRET_KEY.search(key) and len(value) >= MIN_SECRET_LENGTH}
    return tuple(sorted(values, key=len, reverse=True))


def own_credentials(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the values of environment variables whose names say they are secret, longest first."""
    source = os.environ if environment is None else environment
    return _secret_values(
        frozenset((key, value) for key, value in source.items() if SECRET_KEY.search(key) and key not in _FOLDERS)
    )


def redact_text(text: str, secrets: Iterable[str] | None = None) -> str:
    """Return `text` with everything that looks like a secret masked; `secrets` are masked wherever they stand."""
    for value in own_credentials() if secrets is None else secrets:
        text = text.replace(value, MASK)
    text = _PEM.sub(MASK, text)
    text = _URL_USER.sub(rf"\1{MASK}@", text)
    text = _URL_QUERY.sub(rf"\1?{MASK}", text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _JWT.sub(MASK, text)
    text = _FORGE_TOKEN.sub(MASK, text)
    return _ASSIGNMENT.sub(rf"\1{MASK}", text)


def redact(value: Any, secrets: Iterable[str] | None = None) -> Any:
    """Return a JSON-like value with secrets masked: whole values under a secret's key, patterns inside any text."""
    known = own_credentials() if secrets is None else tuple(secrets)
    if isinstance(value, str):
        return redact_text(value, known)
    if isinstance(value, Mapping):
        return {
            key: MASK if isinstance(item, str) and item and SECRET_KEY.search(str(key)) else redact(item, known)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item, known) for item in value]
    return value
