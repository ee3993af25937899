"""manifests/README.md names what the tree needs, and the tree holds what it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.torghutctl.test_shipped_environment import ROOT, documents
from torghut_core.topics import ALL

TEXT = (ROOT / "manifests" / "README.md").read_text()


def references(node: Any) -> Iterator[tuple[str, str]]:
    """Yield (Secret, key) of every reference below."""
    if isinstance(node, dict):
        if isinstance(node.get("name"), str) and isinstance(node.get("key"), str):
            yield node["name"], node["key"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def told() -> dict[str, set[str]]:
    """Return the Secrets of the README's table with their keys."""
    rows = TEXT.partition("## Secrets")[2].partition("## Images")[0].splitlines()
    cells = [row.split("|") for row in rows if row.startswith("| `")]
    return {row[1].strip(" `"): set(re.findall(r"`([^`]+)`", row[2])) for row in cells}


def test_secrets_when_the_tree_refers_to_one_then_the_readme_has_it_with_its_keys_and_no_other() -> None:
    """A key that is missing stops a pod; one too many sends its reader looking."""
    needed: dict[str, set[str]] = {}
    for item in documents():
        for name, key in references(item):
            needed.setdefault(name, set()).add(key)
    assert told() == needed


def test_paths_when_the_readme_names_one_then_it_is_there() -> None:
    """Files of the tree, of images/ and runbooks/."""
    named = set(re.findall(r"`((?:[a-z-]+/)*[a-z-]+\.(?:yaml|md)|[a-z]+/|images/[a-z]+/Dockerfile)`", TEXT))
    assert len(named) > 15
    places = (ROOT, ROOT / "manifests")
    assert sorted(name for name in named if not any((place / name).exists() for place in places)) == []


@pytest.mark.parametrize("line", ["  - deployment.yaml", "  # - flinkdeployment.yaml"])
def test_flink_when_one_switches_then_the_lines_named_are_those_of_the_file(line: str) -> None:
    """The README quotes them."""
    assert f"`{line}`" in TEXT
    assert line in (ROOT / "manifests" / "ta" / "kustomization.yaml").read_text().splitlines()


def test_kafka_user_when_the_runtimes_use_topics_groups_and_transactions_then_each_is_allowed() -> None:
    """By prefix, as the names are made: topics of the contract, the live group and a replay's, `<group>-<partition>`."""
    (user,) = [item for item in documents() if item["kind"] == "KafkaUser"]
    rules = user["spec"]["authorization"]["acls"]

    def allowed(kind: str, name: str) -> set[str]:
        return {
            operation
            for rule in rules
            if rule["resource"]["type"] == kind
            and rule["resource"].get("patternType") == "prefix"
            and name.startswith(rule["resource"]["name"])
            for operation in rule["operations"]
        }

    assert [topic.name for topic in ALL if not {"Describe", "Read", "Write"} <= allowed("topic", topic.name)] == []
    for group in ("torghut-ta", "torghut-ta-replay-20260304-gap"):
        assert allowed("group", group) >= {"Describe", "Read"}
        assert allowed("transactionalId", f"{group}-0") >= {"Describe", "Write"}
    assert allowed("topic", "somebody.elses.v1") | allowed("group", "somebody") == set()
    assert {operation for rule in rules for operation in rule["operations"]}.isdisjoint(
        {"All", "Alter", "Create", "Delete", "ClusterAction"}
    )


def test_database_when_backed_up_then_every_day_and_kept_for_two_weeks() -> None:
    """The schedule is of the cluster that has an archive."""
    (cluster,) = [
        item for item in documents() if item["apiVersion"].startswith("postgresql.") and item["kind"] == "Cluster"
    ]
    (backup,) = [item for item in documents() if item["kind"] == "ScheduledBackup"]
    assert backup["spec"]["cluster"]["name"] == cluster["metadata"]["name"]
    assert re.fullmatch(r"0 \d+ \d+ \* \* \*", backup["spec"]["schedule"])
    assert cluster["spec"]["backup"]["retentionPolicy"] == "14d"
    assert set(cluster["spec"]["backup"]["barmanObjectStore"]["s3Credentials"]) == {"accessKeyId", "secretAccessKey"}
