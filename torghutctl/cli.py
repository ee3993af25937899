"""The program `torghutctl`: a table of commands, each loaded when it is used.

`--help` and completion read this table alone. A command's module is imported only to run it or to show its own help;
it offers `command` (a function with typer annotations) or `app` (a `typer.Typer` with sub-commands).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from torghutctl.errors import ConfigurationError, TorghutError, rule_of

_UsageError: Any = typer.BadParameter.__base__
"""What every complaint about a command line is; typer gives it no public name."""

# name: (module in torghutctl.commands, one line of help). Keep the contract's order.
COMMANDS: dict[str, tuple[str, str]] = {
    "health-report": ("health_report", "classify the whole system, name the top cause and the next procedure"),
    "snapshot": ("snapshot", "write what health-report would read to a folder or .tar.gz, redacted"),
    "status": ("status", "effective trading state: git, Argo CD, live spec, newest revision, service, side by side"),
    "pause-trading": ("pause_trading", "stop trading, by a reviewed change in git"),
    "resume-trading": ("resume_trading", "start trading again, once the evidence is good"),
    "restart-ws": ("restart_ws", "restart the market-data forwarder"),
    "suspend-ta": ("suspend_ta", "suspend the technical-analysis job"),
    "resume-ta": ("resume_ta", "let the suspended technical-analysis job run"),
    "restart-ta": ("restart_ta", "restart the technical-analysis job"),
    "rollback-image": ("rollback_image", "go back to an earlier image of the trading service"),
    "replay-ta": ("replay_ta", "compute bars and signals again from what Kafka still holds, and come back"),
    "restore-replica": ("restore_replica", "bring read-only ClickHouse replicas back"),
    "agentruns": ("agentruns", "AgentRun templates for every procedure; run one inside an AgentRun"),
    "audit": ("audit", "show or verify the audit log"),
    "mcp": ("mcp", "Model Context Protocol server over stdio: read and plan, never act"),
    "top": ("top", "live state in a terminal: verdict, cause, components, what trading does"),
    "runbook": ("runbook", "a runbook in the terminal, or the list"),
    "env": ("env", "the environments file: what it holds, where it is, what is wrong with it"),
    "explain-config": (
        "explain_config",
        "a runtime's effective settings with their source, and names it does not know",
    ),
    "llm": ("llm", "evidence for the AI review's next rollout stage"),
    "trading": ("trading", "the trading runtime's settings, and the switches in its database"),
    "completion": ("completion", "completion for bash, zsh or fish"),
    "run": ("run", "run one runtime: ws, ta, trading, visuals or guardrails"),
    "ta": ("ta", "technical analysis from a file, without services"),
    "up": ("up", "the whole system on this machine, embedded engines, paper account"),
    "demo": ("demo", "the whole system on a simulated market, with faults and checks"),
}


COMPLETION_VARIABLE = "_TORGHUTCTL_COMPLETE"
"""What a shell's completion sets when it asks."""


class LazyCommand(TyperCommand):
    """Stands for a command in listings, and loads the real one when it is entered."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name=name, help=summary, short_help=summary, rich_markup_mode=None)
        self.module = module

    def load(self) -> Any:
        """Return the real click command."""
        module = import_module(f"torghutctl.commands.{self.module}")
        app = getattr(module, "app", None)
        if app is None:
            app = typer.Typer(rich_markup_mode=None, add_completion=False)
            app.command(self.name)(module.command)
        elif isinstance(app, typer.Typer):
            app.info.name = self.name
        app._add_completion = False
        command = typer.main.get_command(app)
        command.name = self.name
        _leave_types_out(command)
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return self.load().make_context(info_name, args, parent, **extra)


def _leave_types_out(command: Any) -> None:
    """Let help show an argument as its word alone, as it does an option that has one; typer adds `<str>`."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = _no_type
    for child in getattr(command, "commands", {}).values():
        _leave_types_out(child)


def _no_type(ctx: Any) -> str:  # noqa: ARG001  typer's own signature
    return ""


def _refusal(error: Any) -> TorghutError:
    """Return typer's complaint as one sentence: the option, the value and the rule, or what is wrong with the line."""
    path = error.ctx.command_path if error.ctx is not None else "torghutctl"
    said = " ".join(error.format_message().split())
    found: list[Any] = getattr(error.__cause__, "errors", list)()
    if found and getattr(error, "param", None) is not None:
        value = repr(found[0]["input"])
        said = f"{max(error.param.opts, key=len)}={value}: {rule_of(found[0]['msg']).removeprefix(f'{value} ')}"
    return ConfigurationError(said.rstrip("."), hint=f"{path} --help says what it takes")


class LazyGroup(TyperGroup):
    """The root: builds its commands from the table and turns Torghut's errors into a line and an exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._is_json = False
        for name, (module, summary) in COMMANDS.items():
            self.commands[name] = LazyCommand(name, module, summary)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the program; an error nobody expected is a bug: its trace is shown masked, exit code 1."""
        try:
            return super().main(*args, **options)
        except Exception as error:  # noqa: BLE001  the last resort, so that nothing leaves unmasked
            from torghutctl.render import streams

            if streams.is_about_output(error):
                streams.give_up(sys.stdout)
                streams.tell(f"error: standard output cannot be written: {error}")
                raise SystemExit(int(streams.OutputError.exit_code)) from None
            import traceback

            streams.tell("".join(traceback.format_exception(error)))
            bug = f"a bug in torghutctl ({type(error).__name__}); please report the lines above"
            report_error(TorghutError(bug), is_json=self._is_json)
            raise SystemExit(1) from None

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        from torghutctl.render import streams

        streams.begin()
        self._is_json = _wants_json(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except _UsageError as error:
            _complain(error, is_json=self._is_json)
            raise typer.Exit(2) from error

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TorghutError as error:
            report_error(error, is_json=self._is_json)
            raise typer.Exit(int(error.exit_code)) from error
        except _UsageError as error:
            _complain(error, is_json=self._is_json)
            raise typer.Exit(2) from error
        except BrokenPipeError:
            from torghutctl.render import streams

            streams.give_up(sys.stdout)
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None  # as a shell counts it; 1 would say that there is a bug


def _complain(error: Any, *, is_json: bool) -> None:
    """Tell what is wrong with a command line; one that only lacks a command gets the help that lists them."""
    from torghutctl.render import streams

    if type(error).__name__ == "NoArgsIsHelpError":
        streams.tell(error.format_message())
    else:
        report_error(_refusal(error), is_json=is_json)


def report_error(error: TorghutError, *, is_json: bool) -> None:
    """Write an error's sentence, and what to do next, to standard error, and as an object to a reader of JSON.

    A document that was written already stays the only one.
    """
    from torghutctl.render import streams
    from torghutctl.render.redaction import redact

    streams.tell(f"error: {error}")
    if error.hint:
        streams.tell(f"hint: {error.hint}")
    if is_json and not streams.has_written():
        import json

        body = {"exitCode": int(error.exit_code), "message": str(error), "hint": error.hint or ""}
        document = redact({"schemaVersion": "torghut.error/v1", "error": body})
        with suppress(streams.OutputError):
            streams.emit(json.dumps(document, indent=2, ensure_ascii=not streams.is_unicode()) + "\n")


def _wants_json(arguments: Sequence[str]) -> bool:
    """Tell whether a command line asks for JSON, before anything of it is known to be right."""
    words = list(arguments)
    words = words[: words.index("--")] if "--" in words else words
    pairs = pairwise(words)
    joined = any(word in ("-ojson", "-o=json", "--output=json") for word in words)
    return joined or any(word in ("-o", "--output") and value == "json" for word, value in pairs)


app = typer.Typer(
    name="torghutctl",
    cls=LazyGroup,
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"torghutctl {version('torghut')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Operate Torghut: see what is wrong, plan the change, make it reviewable, follow it until it is true.

    Nothing changes state without a plan, a reason and the exact confirmation. Every command has --help.
    """


def main() -> None:
    """Run the program."""
    from torghutctl.render import streams

    streams.prepare()
    if COMPLETION_VARIABLE in os.environ:
        import_module("typer.completion").completion_init()
    app(prog_name="torghutctl")
