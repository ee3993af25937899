"""Write manifests/rbac/health-reader.yaml from the sources that a report reads, so that the two cannot differ.

python scripts/render_reader_role.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

from torghutctl.health.explain import ROLE, access

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


def main() -> int:
    """Write the manifest, or with --check tell whether it is up to date."""
    path = Path(__file__).resolve().parent.parent / ROLE
    if "--check" in sys.argv[1:]:
        is_same = path.read_text(encoding="utf-8") == render()
        print(f"{ROLE}: {'up to date' if is_same else 'differs; run scripts/render_reader_role.py'}")
        return 0 if is_same else 1
    path.write_text(render(), encoding="utf-8")
    print(f"wrote {ROLE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
