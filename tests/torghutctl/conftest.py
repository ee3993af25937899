"""Shared for the operations plane: GitOps repositories on disk, and files in every style people write YAML in."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.fakes import gitops as repositories
from tests.fakes.gitops import GitOps, shipped, shipped_with_flink
from torghutctl.render.schemas import schema_of


def hold_to_schema(text: str) -> None:
    """Fail unless the text is one JSON document that its published schema takes."""
    document = json.loads(text)
    jsonschema.Draft202012Validator(schema_of(document["schemaVersion"])).validate(document)


@pytest.fixture(autouse=True)
def every_document_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold every JSON that a command writes in this process to its schema too."""
    from torghutctl.render import output

    def held(report: Any, form: output.Format, **views: Any) -> str:
        text = render(report, form, **views)
        if form is output.Format.JSON:
            hold_to_schema(text)
        return text

    render = output.render
    monkeypatch.setattr(output, "render", held)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run torghutctl in a process of its own, off a terminal, with a home of its own."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "torghutctl", *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path / "home"),
                "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if "json" in arguments and done.stdout:
            hold_to_schema(done.stdout)
        return done

    return call


@pytest.fixture
def gitops(tmp_path: Path) -> GitOps:
    """The project's own manifests on main of a bare repository, with the TA on Flink and the Knative Service trading."""
    return shipped_with_flink(tmp_path / "gitops")


@pytest.fixture
def gitops_of_one_process(tmp_path: Path) -> GitOps:
    """The project's own manifests as they are shipped: the TA as one process, a scheduler that trades."""
    return shipped(tmp_path / "gitops")


@pytest.fixture
def empty_gitops(tmp_path: Path) -> Callable[[dict[str, bytes]], GitOps]:
    """Build a bare repository with exactly the given files of the application."""

    def build(files: dict[str, bytes]) -> GitOps:
        def fill(folder: Path) -> None:
            for name, data in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)

        return repositories.build(tmp_path / "made", fill)

    return build


NEWLINES = {"lf": "\n", "crlf": "\r\n"}
ENDINGS = ("newline", "none", "blank lines")
QUOTES = {"double": '"{}"', "single": "'{}'", "plain": "{}"}
LAYOUTS = ("indented", "flush", "flow entries", "flow list", "json")
COMPANY = ("bare", "commented", "documents", "crowded")


@dataclass(frozen=True)
class Style:
    """How one corpus member is written."""

    newline: str
    ending: str
    quote: str
    layout: str
    company: str

    def __str__(self) -> str:
        return "-".join((self.newline, self.ending, self.quote, self.layout, self.company)).replace(" ", "_")


def all_styles() -> Iterator[Style]:
    """Every combination; JSON has one way to quote and no comments."""
    for parts in itertools.product(NEWLINES, ENDINGS, QUOTES, LAYOUTS, COMPANY):
        style = Style(*parts)
        if style.layout == "json" and (style.quote != "double" or style.company != "bare"):
            continue
        yield style


def _entries(style: Style, pairs: list[tuple[str, str]], indent: int, plain: frozenset[str] = frozenset()) -> list[str]:
    """Lines of an env list, its key included, in the style's layout."""
    pad = " " * indent
    quote = QUOTES[style.quote]
    shown = [(name, value if name in plain else quote.format(value)) for name, value in pairs]
    comment = " # why\tthis" if style.company == "commented" else ""
    if style.layout == "flow list":
        inner = ", ".join(f"{{name: {name}, value: {value}}}" for name, value in shown)
        return [f"{pad}env: [{inner}]{comment}"]
    dash = pad if style.layout == "flush" else pad + "  "
    if style.layout == "flow entries":
        return [f"{pad}env:", *(f"{dash}- {{name: {name}, value: {value}}}{comment}" for name, value in shown)]
    lines = [f"{pad}env:"]
    for name, value in shown:
        if style.company == "commented":
            lines += ["", f'{dash}# about {name}:\ttabs, and TRADING_ENABLED: "true" in prose']
        lines += [f"{dash}- name: {name}{comment}", f"{dash}  value: {value}{comment}"]
    return lines


def _finish(style: Style, lines: list[str]) -> bytes:
    newline = NEWLINES[style.newline]
    if style.company == "documents":
        before = [
            "%YAML 1.1",
            "---",
            "# first of three",
            "apiVersion: v1",
            "kind: ConfigMap",
            "metadata: {name: other}",
        ]
        after = ["---", "apiVersion: v1", "kind: List", "items: []", "..."]
        lines = [*before, "---", *lines, *after]
    text = newline.join(lines)
    return (text + {"newline": newline, "none": "", "blank lines": newline * 3}[style.ending]).encode()


def _crowd(style: Style) -> list[str]:
    if style.company != "crowded":
        return []
    return [
        '    example.com/json: \'{"state": "running", "restartNonce": 7, "TRADING_ENABLED": "no"}\'',
        "    example.com/at: 2026-02-03T04:05:06.190Z",
        "    example.com/bool: yes",
        "    example.com/long: " + "word " * 60 + "end",
        "    example.com/block: |-",
        "      state: running",
        "",
        "      replicas: 3",
        "    example.com/folded: >",
        "      a",
        "      b",
        "    example.com/anchored: &shared some text",
        "    example.com/alias: *shared",
        '    example.com/unicode: "ünï – \\u00e9"',
    ]


def knative_file(style: Style, pairs: list[tuple[str, str]], image: str = "x/y:1") -> bytes:
    """A Knative Service whose container has this image and these variables."""
    if style.layout == "json":
        document = {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": "torghut"},
            "spec": {
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "user-container",
                                "image": image,
                                "env": [{"name": n, "value": v} for n, v in pairs],
                            }
                        ]
                    }
                }
            },
        }
        return _finish(style, json.dumps(document, indent=2).split("\n"))
    lines = [
        "apiVersion: serving.knative.dev/v1",
        "kind: Service",
        "metadata:",
        "  name: torghut",
        "  annotations:",
        "    a: b",
        *_crowd(style),
        "spec:",
        "  template:",
        "    spec:",
        "      containers:",
        "        - name: user-container",
        f"          image: {image}",
        *_entries(style, pairs, 10),
        "          ports:",
        "            - containerPort: 8181",
    ]
    return _finish(style, lines)


def deployment_file(style: Style, *, restarted_at: str | None, replicas: int | None) -> bytes:
    """The forwarder's Deployment."""
    if style.layout == "json":
        annotations = {"a": "b", **({"kubectl.kubernetes.io/restartedAt": restarted_at} if restarted_at else {})}
        spec = {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": []}}}
        document = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "torghut-ws"},
            "spec": {**({"replicas": replicas} if replicas is not None else {}), **spec},
        }
        return _finish(style, json.dumps(document, indent=4).split("\n"))
    quote = QUOTES[style.quote]
    comment = " # by hand" if style.company == "commented" else ""
    stamp = [f"kubectl.kubernetes.io/restartedAt: {quote.format(restarted_at)}"] if restarted_at else []
    if style.layout == "flow list":
        annotations = [
            "      annotations: {a: " + quote.format("b") + "".join(f", {item}" for item in stamp) + "}" + comment
        ]
    else:
        annotations = [
            "      annotations:",
            f"        a: {quote.format('b')}{comment}",
            *(f"        {s}{comment}" for s in stamp),
        ]
    lines = [
        "apiVersion: apps/v1",
        "kind: Deployment",
        "metadata:",
        "  name: torghut-ws",
        "  annotations:",
        "    a: b",
        *_crowd(style),
        "spec:",
        *([f"  replicas: {replicas}{comment}"] if replicas is not None else []),
        "  template:",
        "    metadata:",
        *annotations,
        "    spec:",
        "      containers: []",
    ]
    return _finish(style, lines)


def configmap_file(style: Style, values: dict[str, str]) -> bytes:
    """The TA's ConfigMap."""
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "torghut-ta-config"}}
    if style.layout == "json":
        return _finish(style, json.dumps({**head, "data": values}, indent=2).split("\n"))
    shown = [f"{key}: {QUOTES[style.quote].format(value)}" for key, value in values.items()]
    comment = " # by hand" if style.company == "commented" else ""
    if style.layout == "flow list":
        data = ["data: {" + ", ".join(shown) + "}" + comment]
    else:
        data = ["data:", *(f"  {item}{comment}" for item in shown)]
    lines = [
        "apiVersion: v1",
        "kind: ConfigMap",
        "metadata:",
        "  name: torghut-ta-config",
        "  annotations:",
        "    a: b",
    ]
    return _finish(style, [*lines, *_crowd(style), *data])


def flink_file(style: Style, *, state: str | None, nonce: int | None) -> bytes:
    """The FlinkDeployment."""
    if style.layout == "json":
        spec: dict[str, object] = {"image": "x", "job": {"parallelism": 1, **({"state": state} if state else {})}}
        if nonce is not None:
            spec["restartNonce"] = nonce
        document = {
            "apiVersion": "flink.apache.org/v1beta1",
            "kind": "FlinkDeployment",
            "metadata": {"name": "torghut-ta"},
            "spec": spec,
        }
        return _finish(style, json.dumps(document, indent=2).split("\n"))
    quote = QUOTES[style.quote]
    comment = " # by hand" if style.company == "commented" else ""
    shown = [f"state: {quote.format(state)}"] if state else []
    if style.layout == "flow list":
        job = ["  job: {parallelism: 1" + "".join(f", {item}" for item in shown) + "}" + comment]
    else:
        job = [
            "  job:",
            f"    jarURI: {quote.format('local:///x.jar')}",
            *(f"    {s}{comment}" for s in shown),
            "    parallelism: 1",
        ]
    lines = [
        "apiVersion: flink.apache.org/v1beta1",
        "kind: FlinkDeployment",
        "metadata:",
        "  name: torghut-ta",
        "  annotations:",
        "    a: b",
        *_crowd(style),
        "spec:",
        "  image: x",
        *([f"  restartNonce: {nonce}{comment}"] if nonce is not None else []),
        *job,
    ]
    return _finish(style, lines)


@pytest.fixture(scope="session")
def styles() -> list[Style]:
    """Every style of the corpus."""
    return list(all_styles())


@pytest.fixture(scope="session")
def corpus() -> dict[str, Callable[..., bytes]]:
    """Builders of corpus files by kind."""
    return {"knative": knative_file, "deployment": deployment_file, "flink": flink_file, "configmap": configmap_file}
