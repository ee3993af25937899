"""Environments: named systems in `~/.config/torghut/environments.yaml`, or the file that --config names.

    default: staging            # optional; what is used without -e
    environments:
      staging:
        repo: https://github.com/acme/lab
        base: main
        gitopsPath: argocd/applications/torghut
        context: staging-admin
        namespace: torghut
      prod:
        production: true
        live: false
        ...

Without a file and without -e the environment is `default`: not production, not live. Tokens never stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torghutctl.errors import ConfigurationError, InputError
from torghutctl.snapshot.model import Names, is_object_name

DEFAULT_NAME = "default"
NAME_OPTIONS = ("namespace", "service", "ws_deployment", "flink_deployment", "clickhouse_service", "cnpg_cluster")
"""The fields of `Names` that a command line may give."""
DEFAULT_GITOPS_PATH = "argocd/applications/torghut"
_NAME_KEYS = {
    "namespace": "namespace",
    "service": "service",
    "wsDeployment": "ws_deployment",
    "flinkDeployment": "flink_deployment",
    "clickhouseService": "clickhouse_service",
    "cnpgCluster": "cnpg_cluster",
    "kafkaNamespace": "kafka_namespace",
    "argocdNamespace": "argocd_namespace",
    "argocdApplication": "argocd_application",
}
_TEXT_KEYS = ("repo", "base", "gitopsPath", "forge", "forgeUrl", "context", "kubeconfig", "local", "tokenFile")
_BOOLEAN_KEYS = ("production", "live")
FORGES = ("github", "local")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One system to operate."""

    name: str = DEFAULT_NAME
    is_named: bool = False
    """Whether -e chose it, rather than a default."""
    chosen_by: str = ""
    """The file whose default chose it; empty where -e did, or nothing."""
    production: bool = False
    live: bool = False
    """Whether trading with real money is what it is for: declared, never guessed."""
    repo: str | None = None
    base: str = "main"
    gitops_path: str = DEFAULT_GITOPS_PATH
    forge: str | None = None
    """`github` or `local`; None lets the repository's address decide."""
    forge_url: str | None = None
    """API address of a GitHub Enterprise server; None derives it from the repository's host."""
    context: str | None = None
    kubeconfig: str | None = None
    local: str | None = None
    """The folder of `up` or `demo`, when the system runs on this machine."""
    token_file: str | None = None
    names: Names = field(default_factory=Names)

    def renamed(self, given: Mapping[str, str | None]) -> Environment:
        """Return it with the names of resources that the command line gives, by field of `Names`; None gives none.

        Raises InputError for what cannot be a name.
        """
        said = {key: value for key, value in given.items() if value is not None}
        for key, value in said.items():
            if not is_object_name(value):
                raise InputError(f"{name_option(key)} {value!r}: must be a Kubernetes name: a-z, 0-9, - and .")
        return replace(self, names=replace(self.names, **said))


def name_option(key: str) -> str:
    """Return the option that gives the name `key` of `Names`."""
    return f"--{key.replace('_', '-')}"


def default_config_path(environment: Mapping[str, str]) -> Path:
    """Return where the file is looked for without --config."""
    root = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".config")
    return Path(root) / "torghut" / "environments.yaml"


def file_in_use(config: Path | None, process: Mapping[str, str]) -> Path:
    """Return the file that --config names, else the one that is looked for."""
    return config or default_config_path(process)


def names(config: Path | None, process: Mapping[str, str]) -> list[str]:
    """Return the names of the entries, none where there is no file. Raises ConfigurationError."""
    path = file_in_use(config, process)
    found = document_of(path).get("environments", {}) if path.is_file() else {}
    return [str(name) for name in found] if isinstance(found, dict) else []


def entries(config: Path | None, process: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return every entry as it is described, and whether it is the default one. Raises ConfigurationError."""
    path = file_in_use(config, process)
    if config is not None and not path.is_file():
        raise ConfigurationError(f"--config {config}: no such file")
    default = str(document_of(path).get("default", DEFAULT_NAME)) if path.is_file() else DEFAULT_NAME
    return [
        {**described(load_environment(name, config, process)), "isDefault": name == default}
        for name in names(config, process)
    ]


def described(environment: Environment) -> dict[str, Any]:
    """Return an environment by the names of its keys in the file, defaults included; a token is none of them."""
    plain = {
        "name": environment.name,
        "production": environment.production,
        "live": environment.live,
        "context": environment.context,
        "kubeconfig": environment.kubeconfig,
        "local": environment.local,
        "repo": environment.repo,
        "base": environment.base,
        "gitopsPath": environment.gitops_path,
        "forge": environment.forge,
        "forgeUrl": environment.forge_url,
        "tokenFile": environment.token_file,
    }
    return plain | {key: getattr(environment.names, field_name) for key, field_name in _NAME_KEYS.items()}


def load_environment(
    name: str | None, config: Path | None, process: Mapping[str, str], *, named: str = "-e"
) -> Environment:
    """Return the environment `name`, or the default one; `named` is what the command line calls it.

    Raises ConfigurationError when the file or the entry is missing or breaks a rule; the message names file and key.
    """
    path = file_in_use(config, process)
    if not path.is_file():
        if config is not None:
            raise ConfigurationError(f"--config {config}: no such file")
        if name not in (None, DEFAULT_NAME):
            raise ConfigurationError(
                f"{named} {name}: there is no {path}", hint="write it, or name the file with --config"
            )
        return Environment(name=DEFAULT_NAME, is_named=name is not None)
    document = document_of(path)
    entries = document.get("environments", {})
    if not isinstance(entries, dict):
        raise ConfigurationError(f"{path}: environments must be a mapping of names")
    chosen = name or str(document.get("default", DEFAULT_NAME))
    if chosen not in entries:
        if name is None and "default" not in document:
            return Environment(name=DEFAULT_NAME)
        known = ", ".join(sorted(map(str, entries))) or "none"
        raise ConfigurationError(f"{named} {chosen}: {path} has no such environment", hint=f"it has: {known}")
    found = entry_of(path, chosen, entries[chosen] or {}, is_named=name is not None)
    return found if name is not None else replace(found, chosen_by=str(path))


def document_of(path: Path) -> dict[str, Any]:
    """Return the file's mapping. Raises ConfigurationError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML", hint="mend the file") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: must be a mapping with the key environments")
    return document


def entry_of(path: Path, name: str, entry: Any, *, is_named: bool) -> Environment:
    """Return one entry of the file. Raises ConfigurationError that names file and key."""
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{path}: environments.{name} must be a mapping")
    known = {*_TEXT_KEYS, *_BOOLEAN_KEYS, *_NAME_KEYS}
    for key, value in entry.items():
        if key not in known:
            raise ConfigurationError(
                f"{path}: environments.{name}.{key} is not known", hint=f"known: {', '.join(sorted(known))}"
            )
        if key in _BOOLEAN_KEYS and not isinstance(value, bool):
            raise ConfigurationError(f"{path}: environments.{name}.{key}={value!r}: must be true or false")
        if key not in _BOOLEAN_KEYS and (not isinstance(value, str) or not value):
            raise ConfigurationError(f"{path}: environments.{name}.{key}={value!r}: must be a text that is not empty")
        if key in _NAME_KEYS and not is_object_name(value):
            raise ConfigurationError(
                f"{path}: environments.{name}.{key}={value!r}: must be a Kubernetes name: a-z, 0-9, - and ."
            )
    forge = entry.get("forge")
    if forge is not None and forge not in FORGES:
        raise ConfigurationError(f"{path}: environments.{name}.forge={forge!r}: must be one of {', '.join(FORGES)}")
    return Environment(
        name=name,
        is_named=is_named,
        production=entry.get("production", False),
        live=entry.get("live", False),
        repo=entry.get("repo"),
        base=entry.get("base", "main"),
        gitops_path=entry.get("gitopsPath", DEFAULT_GITOPS_PATH),
        forge=forge,
        forge_url=entry.get("forgeUrl"),
        context=entry.get("context"),
        kubeconfig=entry.get("kubeconfig"),
        local=entry.get("local"),
        token_file=entry.get("tokenFile"),
        names=Names(**{field_name: entry[key] for key, field_name in _NAME_KEYS.items() if key in entry}),
    )
