"""`torghutctl trading kill-switch` and `resume-losses`: the switches that stand in the trading database.

Emergency steps like any other: a plan, a reason, the phrase, the gates, the audit log. No repository is needed.
"""

from __future__ import annotations

import os
import shlex
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from torghut_core.rfc3339 import format_ns
from torghutctl.commands.option_group import one_of
from torghutctl.commands.trading_database import open_trading
from torghutctl.environments import Environment, load_environment
from torghutctl.errors import RefusedError, StalePlanError
from torghutctl.planning.plan import Action, Draft, Plan, Precondition, Result
from torghutctl.procedures.specification import Danger, Spec
from torghutctl.render.output import Format

if TYPE_CHECKING:
    from torghut_core.trading.store.control import Latch

Switch = Literal["kill-switch on", "kill-switch off", "resume-losses"]
_STATEMENTS: dict[Switch, str] = {
    "kill-switch on": "turn the database's kill switch on: no claim is written, open orders of this system are cancelled",
    "kill-switch off": "turn the database's kill switch off",
    "resume-losses": "lift the loss latch and measure losses anew from the next reading of equity",
}
_VERIFIED: dict[Switch, str] = {
    "kill-switch on": "kill_switch_enabled=true; orders_uncertain.cancels_not_obeyed stays 0",
    "kill-switch off": "kill_switch_enabled=false",
    "resume-losses": "loss_limit.latched=false",
}
_UNDONE: dict[Switch, Switch] = {
    "kill-switch on": "kill-switch off",
    "kill-switch off": "kill-switch on",
    "resume-losses": "kill-switch on",
}


@dataclass(frozen=True, kw_only=True)
class SwitchOptions:
    """What the command line gave."""

    environment: str | None
    config: Path | None
    local: Path | None
    reason: str
    confirm: str
    plan: str | None
    act: bool
    ticket: str
    audit_log: Path | None
    output: Format | None


EnvironmentOption = Annotated[
    str | None, typer.Option("-e", "--environment", metavar="NAME", help="entry of the environments file")
]
ConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="environments file (~/.config/torghut/environments.yaml)")
]
LocalOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="the folder of `up` or `demo`, instead of DB_DSN")
]
ReasonOption = Annotated[
    str, typer.Option(metavar="TEXT", help="why; required to act, kept in the database and the audit log")
]
ConfirmOption = Annotated[str, typer.Option(metavar="PHRASE", help="ACTUATE_TORGHUT, exactly; asked for on a terminal")]
PlanOption = Annotated[str | None, typer.Option(metavar="DIGEST", help="act only if the plan is still this one")]
ActOption = Annotated[bool, typer.Option("--act", help="do it now; without it only the plan is shown")]
TicketOption = Annotated[str, typer.Option(metavar="ID", help="ticket of the change")]
AuditOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="audit log (~/.local/state/torghut/audit.jsonl)")
]
OutputOption = Annotated[
    Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="How to write the answer.")
]


def run_switch(switch: Switch, options: SwitchOptions) -> None:
    """Show the plan, and with --act do it.

    Raises ConfigurationError (2), RefusedError (6) when a gate is closed, StalePlanError (7), UpstreamError (9).
    """
    from torghut_core.clock import SystemClock
    from torghutctl.actuation.record import Record
    from torghutctl.actuation.request import Effect, Request
    from torghutctl.commands.procedure_request import ask_person, default_audit_path, has_to_be_asked, user
    from torghutctl.planning.gates import Intent, ask_gates, require_open, told
    from torghutctl.render.output import screen, write
    from torghutctl.render.plan_view import plan_markdown, plan_table
    from torghutctl.render.streams import is_terminal, tell
    from torghutctl.snapshot.agent_run import read_agent_run

    environment = load_environment(options.environment, options.config, os.environ)
    now_ns = SystemClock().now_ns()
    is_asked = is_terminal()
    on = screen(os.environ)

    def show(plan: Plan, *, was_shown: bool = False) -> None:
        is_known = was_shown and on.width is not None
        view = partial(plan_table, width=on.width, is_coloured=on.is_coloured, is_known=is_known)
        write(plan.report(), options.output, table=view, markdown=plan_markdown)

    with _database(options, environment) as trading:
        plan = Plan(
            procedure=f"trading {switch.split()[0]}",
            arguments={"switch": switch},
            environment=environment.name,
            base="none",
            draft=trading.draft(switch),
        )
        if options.plan is not None and options.plan != plan.digest:
            raise StalePlanError(f"the plan is now {plan.digest}, not the {options.plan} that --plan names")
        if not options.act or plan.is_empty:
            show(plan)
            reason = "" if options.reason.strip() else "--reason TEXT "
            how = "asks for the phrase" if is_asked else "takes --confirm with the phrase that --help gives"
            tell("nothing to change" if plan.is_empty else f"plan only; the same with {reason}--act {how}")
            if plan.refusals and not plan.is_empty:
                closed = told((item.name, item.detail) for item in plan.refusals)
                raise RefusedError(f"this plan would be refused: {closed}", hint="nothing was changed")
            return
        intent = Intent(
            reason=options.reason,
            confirm=options.confirm,
            is_environment_named=environment.is_named,
            is_production=environment.production,
            agent_run=read_agent_run(os.environ),
            is_person_at_terminal=is_asked,
        )
        was_shown = is_asked and has_to_be_asked(intent)
        if was_shown:
            intent = ask_person(plan, intent)
        answers = ask_gates(plan, intent, only_a_person=switch != "kill-switch on")
        require_open(answers)
        actor = f"{user()}@{socket.gethostname()}"
        request = Request(
            spec=_spec(switch),
            planner=lambda _: plan.draft,
            arguments=plan.arguments,
            environment=environment,
            repo="",
            base="",
            gitops_path="",
            effect=Effect.ACT,
            intent=intent,
            at_ns=now_ns,
            now_ns=now_ns,
            ticket=options.ticket,
            audit_path=options.audit_log or default_audit_path(os.environ),
            actor=actor,
        )
        record = Record(request)
        record.intent(plan, answers)
        trading.carry_out(switch, now_ns=now_ns, actor=actor, reason=" ".join(intent.reason.split()))
        done = plan.with_result(Result())
        record.result(done, "acted")
        show(done, was_shown=was_shown)
        for step in plan.draft.verification:
            tell(f"verify: {step}")
        if record.gap is not None:
            raise record.gap


def _spec(switch: Switch) -> Spec:
    return Spec(
        name=f"trading {switch}",
        summary=_STATEMENTS[switch],
        when="",
        needs="",
        does=_STATEMENTS[switch],
        verify="",
        undo="",
        danger=Danger.EMERGENCY,
        is_stop=switch == "kill-switch on",
    )


def _latched(latch: Latch) -> str:
    """Say what a person lifts: the limit, since when, and what was measured."""
    mark = {"daily_loss": "the day's first reading", "drawdown": "the highest reading"}[latch.limit]
    lost = (latch.mark - latch.equity) / latch.mark if latch.mark else Decimal(0)
    return (
        f"latched: {latch.limit} since {format_ns(latch.since_ns)}, at an equity of {latch.equity:.2f},"
        f" {lost:.1%} below {mark} of {latch.mark:.2f}"
    )


class _database:
    """The trading database that the options name, open for one command."""

    def __init__(self, options: SwitchOptions, environment: Environment) -> None:
        self._local = options.local or (Path(environment.local) if environment.local else None)
        self._stack = ExitStack()
        name = ("-e", options.environment) if options.environment else ()
        config = ("--config", str(options.config.absolute())) if options.config else ()
        local = ("--local", str(options.local.absolute())) if options.local else ()
        self._where = (*name, *config, *local)

    def __enter__(self) -> _database:
        from torghut_core.trading.store.control import ControlStore

        found = self._stack.enter_context(open_trading(self._local, os.environ))
        self._settings = found.settings
        self.store = ControlStore(found.database, account_label=found.settings.account_label)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def draft(self, switch: Switch) -> Draft:
        """Return what would be done, and what was asked first. Raises UpstreamError."""
        label = self._settings.account_label
        bound = self.store.bound()
        is_own = bound is not None and bound.account_label == label and self._is_own_number(bound.account_number)
        said = "the database is bound to no account yet" if bound is None else f"it is bound to {bound.account_label}"
        undo = f" --reason 'undo {switch}'"
        return Draft(
            actions=tuple(
                Action(target=f"trading database, account {label}", statement=text) for text in self._statements(switch)
            ),
            preconditions=(
                Precondition(
                    name="the database's account is the environment's",
                    ok=is_own,
                    detail=f"{said}; the environment's is {label}",
                    refuses=switch != "kill-switch on",
                    value=str(is_own),
                ),
            ),
            verification=(
                shlex.join(["torghutctl", "health-report", *self._where]),
                f"/trading/status: {_VERIFIED[switch]}",
            ),
            rollback=(f"{shlex.join(['torghutctl', 'trading', *_UNDONE[switch].split(), *self._where])}{undo} --act",),
            summary=switch,
        )

    def _statements(self, switch: Switch) -> tuple[str, ...]:
        """Return what there is to do; nothing where it is so already."""
        if switch == "resume-losses":
            latch = self.store.latched()
            return () if latch is None else (f"{_STATEMENTS[switch]}; {_latched(latch)}",)
        return () if self.store.read().is_killed == (switch == "kill-switch on") else (_STATEMENTS[switch],)

    def _is_own_number(self, number: str) -> bool:
        """Tell whether the account number is the environment's, as far as the environment names one."""
        return self._settings.live_account is None or (number == self._settings.live_account) == (
            self._settings.mode == "live"
        )

    def carry_out(self, switch: Switch, *, now_ns: int, actor: str, reason: str) -> None:
        """Write it. Raises UpstreamError."""
        if switch == "resume-losses":
            self.store.resume_losses(now_ns=now_ns, actor=actor, reason=reason)
        else:
            self.store.switch_kill(is_on=switch == "kill-switch on", now_ns=now_ns, actor=actor, reason=reason)
