"""Ask Argo CD to look again, and to apply, through its Application's own fields."""

from __future__ import annotations

from torghutctl.adapters.kubernetes_writer import KubernetesWriter


def request_sync(writer: KubernetesWriter, namespace: str, application: str, *, with_operation: bool) -> None:
    """Annotate the Application for a hard refresh and, `with_operation`, start a sync without pruning."""
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications/{application}"
    body: dict[str, object] = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}}
    if with_operation:
        body["operation"] = {"initiatedBy": {"username": "torghutctl"}, "sync": {"prune": False}}
    writer.merge_patch(path, body, what=f"Argo CD Application {namespace}/{application}")
