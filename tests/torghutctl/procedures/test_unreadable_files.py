"""What decides a switch and cannot be read is named: a stop changes the rest and ends with 6, a start does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # git processes

ACT = ("--reason", "stale data", "--confirm", "ACTUATE_TORGHUT", "--branch", "-o", "json")
PLAIN = b"""apiVersion: apps/v1
kind: Deployment
metadata: {name: torghut-scheduler}
spec:
  template:
    spec:
      containers:
        - name: scheduler
          env:
            - name: TORGHUT_PROCESS_ROLE
              value: scheduler
            - name: TRADING_ENABLED
              value: "VALUE"
"""
ON, OFF = PLAIN.replace(b"VALUE", b"true"), PLAIN.replace(b"VALUE", b"false")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 812\n"
SOPS = b"sops:\n  mac: ENC[AES256_GCM,data:aa==,iv:bb==,tag:cc==,type:str]\n  version: 3.9.0\n"
HIDDEN = (
    b"kind: Deployment\nmetadata: {name: other}\nspec:\n  template:\n    spec:\n      containers:\n"
    b"        - env:\n            - name: ENC[AES256_GCM,data:aa==,iv:b==,tag:c==,type:str]\n"
    b"              value: ENC[AES256_GCM,data:dd==,iv:b==,tag:c==,type:str]\n" + SOPS
)
SCHEDULER = "scheduler-deployment.yaml"

CASES: dict[str, tuple[dict[str, bytes], str, bool]] = {
    "a Git LFS pointer beside it": (
        {SCHEDULER: ON, "trading/extra.yaml": LFS},
        "trading/extra.yaml: is a Git LFS pointer",
        True,
    ),
    "nothing but a pointer": ({SCHEDULER: LFS}, "scheduler-deployment.yaml: is a Git LFS pointer", False),
    "git-crypt": ({SCHEDULER: ON, "x.yaml": b"\0GITCRYPT\0\x01\x02"}, "x.yaml: is encrypted by git-crypt", True),
    "an age file": (
        {SCHEDULER: ON, "x.yaml": b"age-encryption.org/v1\n-> X25519"},
        "x.yaml: is encrypted by age",
        True,
    ),
    "a workload in SOPS ciphertext": ({SCHEDULER: ON, "x.yaml": HIDDEN}, "names its variables in ciphertext", True),
    "a value in ciphertext": (
        {SCHEDULER: PLAIN.replace(b'"VALUE"', b"ENC[AES256_GCM,data:a==,iv:b==,tag:c==,type:str]") + SOPS},
        "sets TRADING_ENABLED in ciphertext",
        False,
    ),
    "a plain value under a MAC": ({SCHEDULER: ON + SOPS}, "has a SOPS MAC, which an edit would break", False),
    "a base outside": (
        {SCHEDULER: ON, "kustomization.yaml": b"resources: [scheduler-deployment.yaml, ../base]\n"},
        "takes in ../base, outside the gitops path, which sets TRADING_ENABLED",
        True,
    ),
    "a component outside by way of another": (
        {SCHEDULER: ON, "kustomization.yaml": b"components: [../way]\n"},
        "takes in ../way, outside the gitops path, which sets TRADING_ENABLED",
        True,
    ),
    "a remote base": (
        {SCHEDULER: ON, "kustomization.yaml": b"resources: ['https://github.com/acme/base?ref=v1']\n"},
        "outside the gitops path, which is not in the repository",
        True,
    ),
    "a base outside in ciphertext": (
        {SCHEDULER: ON, "kustomization.yaml": b"bases: [../pointer]\n"},
        "takes in ../pointer, outside the gitops path, which cannot be read",
        True,
    ),
}
OUTSIDE = {
    "../base/kustomization.yaml": b"resources: [d.yaml]\n",
    "../base/d.yaml": ON.replace(b"torghut-scheduler", b"other"),
    "../way/kustomization.yaml": b"resources: [../base]\n",
    "../pointer/kustomization.yaml": b"resources: [d.yaml]\n",
    "../pointer/d.yaml": LFS,
    "../silent/kustomization.yaml": b"resources: [d.yaml]\n",
    "../silent/d.yaml": b"kind: Service\nmetadata: {name: unrelated}\n",
}


@pytest.mark.parametrize("case", CASES)
def test_pause_when_a_file_cannot_be_read_then_it_is_named_and_the_rest_is_changed(
    case: str, run: Any, empty_gitops: Callable[[dict[str, bytes]], Any]
) -> None:
    """Never "nothing to change": exit 6, the file by name, and what can be stopped is stopped."""
    files, words, is_changed = CASES[case]
    gitops = empty_gitops({**OUTSIDE, **files})
    where = ("--repo", str(gitops.clone), "--gitops-path", "argocd/applications/torghut")
    shown = run("pause-trading", *where, "--reason", "x", "-o", "json")
    plan = json.loads(shown.stdout)
    assert (shown.returncode, words in shown.stderr, words in plan["error"]["message"]) == (6, True, True), shown.stderr
    done = run("pause-trading", *where, *ACT)
    assert (done.returncode, words in done.stderr) == (6, True)
    changed = [file["path"].rsplit("/", 1)[-1] for file in json.loads(done.stdout)["files"]]
    assert changed == ([SCHEDULER] if is_changed else [])


@pytest.mark.parametrize("case", [name for name, (_, words, _) in CASES.items() if "which sets" not in words])
def test_resume_when_a_file_cannot_be_read_then_refused_without_effect(
    case: str, run: Any, empty_gitops: Callable[[dict[str, bytes]], Any]
) -> None:
    """Whether it starts more than it should cannot be known, so it starts nothing."""
    files, words, _ = CASES[case]
    gitops = empty_gitops({**OUTSIDE, **{name: data.replace(ON, OFF) for name, data in files.items()}})
    refs = gitops.refs()
    done = run("resume-trading", "--repo", str(gitops.clone), *ACT)
    assert (done.returncode, words.split(": ")[-1] in done.stderr, refs) == (6, True, gitops.refs()), done.stderr


def test_pause_when_what_lies_outside_sets_nothing_then_it_is_no_reason(
    run: Any, empty_gitops: Callable[[dict[str, bytes]], Any]
) -> None:
    """A base that can be read and is silent about trading costs nothing."""
    kustomization = b"resources: [scheduler-deployment.yaml, ../silent]\n"
    gitops = empty_gitops({**OUTSIDE, SCHEDULER: ON, "kustomization.yaml": kustomization})
    done = run("pause-trading", "--repo", str(gitops.clone), *ACT)
    assert (done.returncode, len(json.loads(done.stdout)["files"])) == (0, 1), done.stderr


def test_restart_when_its_file_is_under_a_mac_then_refused_and_untouched(
    run: Any, empty_gitops: Callable[[dict[str, bytes]], Any]
) -> None:
    """A file that SOPS vouches for is never edited, by any procedure."""
    deployment = b"kind: Deployment\nmetadata: {name: torghut-ws}\nspec: {replicas: 1, template: {metadata: {}}}\n"
    gitops = empty_gitops({"ws/deployment.yaml": deployment + SOPS})
    refs = gitops.refs()
    done = run("restart-ws", "--repo", str(gitops.clone), *ACT)
    assert (done.returncode, "has a SOPS MAC" in done.stderr, refs) == (6, True, gitops.refs())
