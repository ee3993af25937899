"""`torghutctl status`."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.commands import target_options as options
from torghutctl.render.output import Format, write


def command(
    *,
    output: Annotated[Format | None, typer.Option("-o", "--output", help="how to write it")] = None,
    environment: options.EnvironmentOption = None,
    config: options.ConfigOption = None,
    kubeconfig: options.KubeconfigOption = None,
    context: options.ContextOption = None,
    local: options.LocalOption = None,
    from_snapshot: options.BundleOption = None,
    at: options.AtOption = None,
    repo: options.RepoOption = None,
    base: options.BaseOption = None,
    gitops_path: options.GitopsPathOption = None,
    namespace: options.NamespaceOption = None,
    service: options.ServiceOption = None,
    ws_deployment: options.WsOption = None,
    flink_deployment: options.FlinkOption = None,
    clickhouse_service: options.ClickhouseOption = None,
    cnpg_cluster: options.CnpgOption = None,
) -> None:
    """Show the effective state of trading: git, Argo CD, live spec, newest revision and /trading/status, side by side.

    Merged is not applied and applied is not effective: this tells where a change stands. Git's column needs --repo, or
    an environment with a repository.

    Every running pod counts: an older revision that still trades is a difference, and is what "trades" says.

    Exit code: 0 everything agrees, 3 something differs, 5 the service did not say what it does, or a column could not
    be read, 2 wrong usage.

    \b
    torghutctl status -e staging
    torghutctl status --local .demo -o json
    """
    choice = options.choose(
        environment=environment,
        config=config,
        kubeconfig=kubeconfig,
        context=context,
        local=local,
        from_snapshot=from_snapshot,
        at=at,
        repo=repo,
        base=base,
        gitops_path=gitops_path,
        namespace=namespace,
        service=service,
        ws_deployment=ws_deployment,
        flink_deployment=flink_deployment,
        clickhouse_service=clickhouse_service,
        cnpg_cluster=cnpg_cluster,
    )
    from torghutctl.health.effective_state import EXIT_CODES, show
    from torghutctl.render import status_view
    from torghutctl.snapshot import bundle, reader

    snapshot = reader.read(choice.target, at_ns=choice.at_ns, tell=options.tell)
    with bundle.blamed(choice.target.bundle):
        report = show(snapshot)
    write(report, output, table=status_view.table, markdown=status_view.markdown)
    raise typer.Exit(int(EXIT_CODES[report["agreement"]]))
