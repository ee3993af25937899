"""What git takes from its user: credentials, ssh command, askpass, proxies, signing, as they hold in his clone.

Work is done in a scratch repository, where the clone's own configuration would not be seen: what is the user's is
carried over. Prompts alone are switched off, since nobody sits there to answer them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

SETTING = re.compile(
    r"(?:core\.(?:sshcommand|askpass|gitproxy)|ssh\.|credential\.|http\.|url\.|protocol\.|user\.|author\.|committer\."
    r"|gpg\.|commit\.gpgsign|remote\.[^\n]*\.(?:proxy|proxyauthmethod|receivepack|uploadpack))",
    re.I,
)
"""Names of settings about who the user is and how he reaches a remote; what else a clone sets is about itself."""
TOKEN_VARIABLE = "TORGHUT_GIT_TOKEN"  # noqa: S105  its name, not a token
_PROMPTS_OFF = {"GIT_TERMINAL_PROMPT": "0"}
_ALWAYS = {"GIT_OPTIONAL_LOCKS": "0", "GIT_ADVICE": "0", "LC_ALL": "C"}
_ASKERS = ("GIT_ASKPASS", "SSH_ASKPASS")


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A token for one forge host, handed to git in its environment, never on a command line."""

    host: str
    token: str = field(repr=False)

    def settings(self) -> tuple[str, ...]:
        """Return what makes git ask for the token, for this host alone and after the user's own helpers."""
        answer = (
            f'!f() {{ test "$1" = get && printf "username=x-access-token\\npassword=%s\\n" "${TOKEN_VARIABLE}"; }}; f'
        )
        return ("-c", f"credential.https://{self.host}.helper={answer}")

    def environment(self) -> dict[str, str]:
        """Return the variable that the helper reads."""
        return {TOKEN_VARIABLE: self.token}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One line of `git config --list`: which file it stands in, its name and its value."""

    origin: str
    name: str
    value: str | None
    """None for a name alone, which stands for true."""


def environment(process: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that git gets beside the user's own.

    ssh asks a program, and none stands there unless the user names one: so it never waits at a terminal.
    """
    silent = {} if process.get("SSH_ASKPASS") else {"SSH_ASKPASS": "false"}
    asking = {"SSH_ASKPASS_REQUIRE": process.get("SSH_ASKPASS_REQUIRE") or "force"}
    return {**_PROMPTS_OFF, **_ALWAYS, **silent, **asking}


def is_asking(process: Mapping[str, str], settings: tuple[Setting, ...]) -> bool:
    """Tell whether the user has a program that answers for his password."""
    return any(process.get(name) for name in _ASKERS) or any(item.name == "core.askpass" for item in settings)


def parse_settings(listing: bytes) -> tuple[Setting, ...]:
    """Return the rows of `git config --list --show-origin -z`."""
    words = listing.decode("utf-8", "surrogateescape").split("\0")
    rows = []
    for origin, text in zip(words[::2], words[1::2], strict=False):
        name, separator, value = text.partition("\n")
        rows.append(Setting(origin=origin, name=name, value=value if separator else None))
    return tuple(rows)


def own_settings(of_clone: tuple[Setting, ...], of_scratch: tuple[Setting, ...]) -> str:
    """Return the user's settings that hold in his clone and would not elsewhere, as a configuration file."""
    seen = {item.origin for item in of_scratch}
    lines = []
    for item in of_clone:
        is_his = SETTING.match(item.name) is not None and item.origin not in seen
        if is_his and not item.origin.startswith("command line"):
            lines += _lines(item)
    return "".join(f"{line}\n" for line in lines)


def _lines(item: Setting) -> list[str]:
    section, _, rest = item.name.partition(".")
    subsection, _, key = rest.rpartition(".")
    head = f"[{section} {_quoted(subsection)}]" if subsection else f"[{section}]"
    return [head, f"\t{key}" if item.value is None else f"\t{key} = {_quoted(item.value)}"]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
