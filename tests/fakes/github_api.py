"""GitHub's REST API for pull requests over HTTP, held to GitHub's published OpenAPI description.

Every request is checked against the description (path, method, query, body), and so is every answer this server gives:
answers are the description's own examples, with the fields of the case filled in. `problems` lists what did not fit.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


class Description:
    """GitHub's description: finds operations and validates against their schemas."""

    def __init__(self, path: Path) -> None:
        raw: dict[str, Any] = json.loads(path.read_text())
        raw["components"]["schemas"] = _nullable(raw["components"]["schemas"])
        self.document = raw
        self._registry: Registry[Any] = Registry().with_resource("urn:github", Resource(self.document, DRAFT202012))
        self._paths = [
            (re.compile("^" + re.sub(r"\{[^}]+\}", "([^/]+)", template) + "$"), template)
            for template in self.document["paths"]
            if template.startswith("/repos/{owner}/{repo}")
        ]

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            current: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                current = current[part.replace("~1", "/").replace("~0", "~")]
            node = current
        return node

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        literal = [template for pattern, template in self._paths if pattern.match(path)]
        for template in sorted(literal, key=lambda item: item.count("{")):
            found = self.document["paths"][template].get(method.lower())
            if found is not None:
                return dict(found)
        return None

    def errors(self, schema: dict[str, Any], value: Any) -> list[str]:
        absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:github#/'))
        validator = Draft202012Validator(_nullable(absolute), registry=self._registry)
        return [f"{list(e.absolute_path)}: {e.message[:120]}" for e in validator.iter_errors(value)]

    def example(self, name: str) -> Any:
        return copy.deepcopy(self.document["components"]["examples"][name]["value"])


def _nullable(node: Any) -> Any:
    """Turn OpenAPI 3.0's `nullable` into JSON Schema's null type, everywhere."""
    if isinstance(node, list):
        return [_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _nullable(item) for key, item in node.items()}
    if made.get("nullable") is True:
        return {"anyOf": [{key: item for key, item in made.items() if key != "nullable"}, {"type": "null"}]}
    return made


@dataclass
class GitHub:
    """The server's state."""

    description: Description
    pulls: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[int, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    fail: dict[str, tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=dict)
    """Method → (status, body, headers) to answer instead."""
    existing: dict[str, int] = field(default_factory=dict)
    """Head branches that have a pull request which a creation collides with."""

    def add(self, number: int, *, head: str, base: str = "main", state: str = "open", merged: bool = False) -> None:
        pull = self.description.example("pull-request")
        pull.update(
            number=number,
            html_url=f"https://github.example/acme/lab/pull/{number}",
            title=f"pull {number}",
            state=state,
            merged=merged,
            merged_at="2026-01-02T03:04:05Z" if merged else None,
            merge_commit_sha="a" * 40 if merged else None,
            requested_teams=[],  # the example's own team lacks a field that the schema requires
        )
        pull["head"]["ref"], pull["base"]["ref"] = head, base
        self.pulls.append(pull)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any, dict[str, str]]:
        operation = self.description.operation(method, path)
        if operation is None:
            self.problems.append(f"{method} {path}: not in the description")
            return 404, {"message": "Not Found"}, {}
        self._check_request(operation, f"{method} {path}", query, body)
        status, answer, headers = self.fail.get(method) or self._act(method, path, query, body)
        response = operation["responses"].get(str(status))
        if response is not None and status < 300:
            schema = self.description.resolve(response)["content"]["application/json"]["schema"]
            self.problems += [f"answer to {method} {path}: {e}" for e in self.description.errors(schema, answer)]
        return status, answer, headers

    def _check_request(self, operation: dict[str, Any], what: str, query: dict[str, str], body: Any) -> None:
        known = {
            p["name"]: p for p in map(self.description.resolve, operation.get("parameters", [])) if p["in"] == "query"
        }
        for name, value in query.items():
            if name not in known:
                self.problems.append(f"{what}: unknown query {name}")
                continue
            schema = known[name]["schema"]
            typed = int(value) if schema.get("type") == "integer" else value
            self.problems += [f"{what}: query {name} {e}" for e in self.description.errors(schema, typed)]
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            self.problems += [f"{what}: body {e}" for e in self.description.errors(schema, body)]
            extra = set(body or {}) - set(schema.get("properties", body or {}))
            self.problems += [f"{what}: unknown field {name}" for name in extra]

    def _act(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any, dict[str, str]]:
        number = int(found.group(1)) if (found := re.search(r"/(?:pulls|issues)/(\d+)", path)) else None
        if method == "POST" and path.endswith("/labels"):
            assert number is not None
            self.labels[number] = list(body["labels"])
            return 200, self.description.example("label-items"), {}
        if method == "GET" and "/issues/" in path:
            issue = self.description.example("issue")
            issue["number"] = number
            issue["url"] = f"{self.address}/repos/acme/lab/issues/{number}"
            return 200, issue, {}
        if method == "POST":
            if body["head"] in self.existing:
                self.add(self.existing[body["head"]], head=body["head"])
                message = f"A pull request already exists for acme:{body['head']}."
                error = {"resource": "PullRequest", "code": "custom", "message": message}
                return 422, {"message": "Validation Failed", "errors": [error], "documentation_url": "x"}, {}
            self.add(len(self.pulls) + 1, head=body["head"], base=body["base"])
            self.pulls[-1].update(title=body["title"], body=body["body"], draft=body.get("draft", False))
            return 201, self.pulls[-1], {}
        if method == "PATCH":
            next(pull for pull in self.pulls if pull["number"] == number).update(state=body["state"])
        if number is not None:
            found_pull = next((pull for pull in self.pulls if pull["number"] == number), None)
            return (200, found_pull, {}) if found_pull else (404, {"message": "Not Found"}, {})
        matching = [p for p in self.pulls if p["state"] == query.get("state", "open")]
        matching = [p for p in matching if query.get("base") in (None, p["base"]["ref"])]
        matching = [p for p in matching if query.get("head") in (None, f"acme:{p['head']['ref']}")]
        size, page = int(query.get("per_page", "30")), int(query.get("page", "1"))
        chosen = matching[(page - 1) * size : page * size]
        simple = self.description.example("pull-request-simple-items")[0]
        items = [{key: pull.get(key, simple[key]) for key in simple} for pull in chosen]
        following = urlencode({**query, "page": str(page + 1)})
        link = f'<{self.address}{path}?{following}>; rel="next"'
        return 200, items, {"Link": link} if page * size < len(matching) else {}

    address: str = ""


@contextmanager
def serve(github: GitHub) -> Iterator[str]:
    """Serve on loopback; yields the API's address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            split = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            github.requests.append((self.command, self.path))
            if self.headers.get("Authorization") != "token planted-token":
                github.problems.append(f"{self.command} {self.path}: no token")
            query = {name: values[0] for name, values in parse_qs(split.query).items()}
            status, body, headers = github.answer(self.command, split.path, query, json.loads(raw) if raw else None)
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    github.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield github.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
