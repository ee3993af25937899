"""Files that git holds in place of what they say: a pointer to it, or its ciphertext."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torghutctl.planning.yaml_document import YamlFile

_BEGINNINGS = {
    b"version https://git-lfs.github.com/spec/": "is a Git LFS pointer: what it holds is not in git",
    b"\0GITCRYPT\0": "is encrypted by git-crypt",
    b"age-encryption.org/v1": "is encrypted by age",
    b"-----BEGIN AGE ENCRYPTED FILE-----": "is encrypted by age",
    b"-----BEGIN PGP MESSAGE-----": "is encrypted by PGP",
    b"$ANSIBLE_VAULT;": "is encrypted by Ansible Vault",
}
UNDER_MAC = "has a SOPS MAC, which an edit would break"
_SOPS_VALUE = re.compile(r"^ENC\[AES256_GCM,")


def why_opaque(data: bytes) -> str | None:
    """Return why a file's own content cannot be read, None for one that says what it says."""
    head = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:64]
    return next((why for beginning, why in _BEGINNINGS.items() if head.startswith(beginning)), None)


def is_under_mac(yaml: YamlFile) -> bool:
    """Tell whether SOPS vouches for the file's content: every edit would break its MAC."""
    return any(yaml.value((index, "sops", "mac")) is not None for index in range(len(yaml.documents)))


def is_ciphertext(value: str | None) -> bool:
    """Tell whether a scalar is one that SOPS encrypted."""
    return value is not None and _SOPS_VALUE.match(value) is not None
