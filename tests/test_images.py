"""The images' Dockerfiles: pinned base, no root, only what is needed, and everything copied is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "images").glob("*/Dockerfile"))
BASE = re.compile(r"python:3\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}")
FLINK = re.compile(r"flink:\d+\.\d+\.\d+-java\d+@sha256:[0-9a-f]{64}")


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return (instruction, rest) of each line, continuation lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def rest_of(path: Path, word: str) -> list[str]:
    return [rest for name, rest in instructions(path) if name == word]


def test_images_when_listed_then_each_workload_and_the_agent_runs_have_one() -> None:
    """The names are those in the manifests and in agentruns/."""
    assert [path.parent.name for path in FILES] == ["torghut", "torghut-ta", "torghutctl"]
    named = "".join(
        path.read_text() for folder in ("manifests", "agentruns") for path in (ROOT / folder).rglob("*.yaml")
    )
    assert [
        name for name in ("torghut/torghut:", "torghut/torghut-ta:", "torghut/torghutctl@sha256:") if name not in named
    ] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_image_when_built_then_from_a_base_pinned_by_digest(path: Path) -> None:
    """A tag moves, a digest does not; every stage starts from the one base."""
    arguments = dict(rest.split("=", 1) for rest in rest_of(path, "ARG"))
    pins = {"BASE": BASE, "FLINK": FLINK}
    assert [name for name, base in arguments.items() if not pins[name].fullmatch(base)] == []
    others = [f"${{{name}}} AS {name.lower()}" for name in arguments if name != "BASE"]
    assert rest_of(path, "FROM") == [*others, "${BASE} AS build", "${BASE}"]
    assert ":latest" not in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_image_when_run_then_as_the_user_that_the_manifests_name(path: Path) -> None:
    """The last USER holds, it is a number, so that runAsNonRoot can be checked, and it is not 0."""
    words = [word for word, _ in instructions(path)]
    assert rest_of(path, "USER")[-1] == "10001:10001"
    assert words.index("USER") > len(words) - 1 - words[::-1].index("RUN"), "a RUN after USER"
    assert [name for name in ("ADD", "VOLUME", "EXPOSE") if name in words] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_image_when_built_then_whatever_it_copies_is_there(path: Path) -> None:
    """The wheel carries agentruns, runbooks and manifests: a forgotten COPY fails the build."""
    copied = [word for rest in rest_of(path, "COPY") if not rest.startswith("--from") for word in rest.split()[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert {
        "pyproject.toml",
        "constraints.txt",
        "torghut_core",
        "torghutctl",
        "agentruns",
        "runbooks",
        "manifests",
    } <= {*copied}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_image_when_it_installs_then_pinned_and_nothing_is_left_behind(path: Path) -> None:
    """pip by the constraints, no cache; apt without recommendations and its lists removed."""
    runs = rest_of(path, "RUN")
    by_script = [run for run in runs if "fetch_flink.py" in run]  # which installs by constraints-flink.txt
    assert [run for run in by_script if "PIP_NO_CACHE_DIR=1" not in run] == []
    installs = [part for run in runs for part in run.split("&&") if "pip install" in part]
    assert installs or by_script
    assert [part for part in installs if "-c constraints.txt" not in part or "--no-cache-dir" not in part] == []
    for run in runs:
        if "apt-get install" in run:
            assert "--no-install-recommends" in run
            assert "rm -rf /var/lib/apt/lists/*" in run


def test_image_of_the_runtimes_when_the_root_is_read_only_then_compiled_kernels_go_to_tmp() -> None:
    """The one folder that a pod can write."""
    path = ROOT / "images" / "torghut" / "Dockerfile"
    assert "NUMBA_CACHE_DIR=/tmp/" in " ".join(rest_of(path, "ENV"))
    assert '"${wheel}[runtime,s3]"' in " ".join(rest_of(path, "RUN"))


def test_image_of_agent_runs_when_it_commits_then_git_is_there() -> None:
    """A procedure pushes its own branch."""
    path = ROOT / "images" / "torghutctl" / "Dockerfile"
    assert " git " in " ".join(rest_of(path, "RUN"))
    assert "/usr/local/bin/torghutctl" in " ".join(rest_of(path, "ENTRYPOINT"))
