"""Write manifests/rbac/health-reader.yaml and agentruns/rbac.yaml from the sources that a report reads, so that the two cannot differ.

python scripts/render_reader_role.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

from torghutctl.health.explain import ROLE, access
from torghutctl.procedures.agent_templates import AGENTS, NAMESPACE

_NAME = "torghut-health-reader"
_HEAD = f"""# Everything `torghutctl health-report` reads, and nothing else: no verb on Secrets, none that writes.
# Written by scripts/render_reader_role.py from the program's own list (`health-report --explain-access`).
# pods/proxy and services/proxy reach any port of any pod and service in the namespace, by GET alone.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {_NAME}
  namespace: torghut
"""
RUNS = "agentruns/rbac.yaml"
_RUNS_HEAD = """# What AgentRuns may: `get` of runs in their own namespace, and everything that a report reads; nothing that writes.
# Written by scripts/render_reader_role.py; the Roles of the other namespaces are those of manifests/rbac/health-reader.yaml.
"""


def render() -> str:
    """Return the manifest: a ServiceAccount, and a Role with its binding in each namespace."""
    rules = access()["rules"]
    text = _HEAD
    for namespace in sorted({rule["namespace"] for rule in rules}):
        text += f"---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: {_NAME}\n  namespace: {namespace}\nrules:\n"
        for rule in rules:
            if rule["namespace"] == namespace:
                group, resource = rule["apiGroup"], rule["resource"]
                verbs = ", ".join(f'"{verb}"' for verb in rule["verbs"])
                text += f'  - apiGroups: ["{group}"]\n    resources: ["{resource}"]\n    verbs: [{verbs}]\n'
        text += (
            f"---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata:\n  name: {_NAME}\n"
            f"  namespace: {namespace}\nroleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: {_NAME}\n"
            f"subjects:\n  - kind: ServiceAccount\n    name: {_NAME}\n    namespace: torghut\n"
        )
    return text


def render_runs() -> str:
    """Return the rights of AgentRuns: each kind its own account, its own run by `get`, and what a report reads.

    A run that actuates opens pull requests with the forge's token and writes nothing to the cluster.
    """
    accounts = sorted(AGENTS.values())
    text = _RUNS_HEAD
    for account in accounts:
        text += f"---\napiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {account}\n  namespace: {NAMESPACE}\n"
    text += (
        f"---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: torghut-own-run\n  namespace: {NAMESPACE}\n"
        'rules:\n  - apiGroups: ["agents.proompteng.ai"]\n    resources: ["agentruns"]\n    verbs: ["get"]\n'
    )
    text += _binding("torghut-own-run", NAMESPACE, "torghut-own-run", accounts)
    for namespace in sorted({rule["namespace"] for rule in access()["rules"]}):
        text += _binding("torghut-agents", namespace, _NAME, accounts)
    return text


def _binding(name: str, namespace: str, role: str, accounts: list[str]) -> str:
    subjects = "".join(
        f"  - kind: ServiceAccount\n    name: {account}\n    namespace: {NAMESPACE}\n" for account in accounts
    )
    return (
        f"---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata:\n  name: {name}\n"
        f"  namespace: {namespace}\nroleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: {role}\n"
        f"subjects:\n{subjects}"
    )


def main() -> int:
    """Write the manifests, or with --check tell whether they are up to date."""
    root = Path(__file__).resolve().parent.parent
    wanted = {ROLE: render(), RUNS: render_runs()}
    differing = [
        name for name, text in wanted.items() if not (root / name).is_file() or (root / name).read_text("utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        print(f"differ; run scripts/render_reader_role.py: {', '.join(differing)}" if differing else "up to date")
        return 1 if differing else 0
    for name, text in wanted.items():
        (root / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
