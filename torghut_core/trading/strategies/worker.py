"""The process in which a strategy from outside runs: it answers on two pipes, and has nothing else.

Its environment holds no credential, its standard input is empty, and what it prints goes to standard error. A call that
never ends is ended by the kernel, even when the trading process is gone.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import msgspec

from torghut_core.trading.model import Proposal, Signal
from torghut_core.trading.strategies import messages
from torghut_core.trading.strategies.definition import PythonDefinition, PythonRule, definition_of
from torghut_core.trading.strategies.judgement import ask, exact, raised
from torghut_core.trading.strategies.parameters import Parameter
from torghut_core.trading.strategies.places import MisstatedError, Place, shown
from torghut_core.trading.strategies.rule import RuleFault, View

_REQUEST = msgspec.msgpack.Decoder(messages.Request)


class _Bench:
    """What one process knows: the definitions of its source, the rule that was opened, and the bars it was told."""

    def __init__(self) -> None:
        self._definitions: dict[str, PythonDefinition] = {}
        self._rule: PythonRule | None = None
        self._bars: dict[str, list[Signal]] = {}

    def answer(self, request: messages.Request) -> messages.Reply:
        if isinstance(request, messages.Describe):
            return self._describe(request.source)
        if isinstance(request, messages.Open):
            return self._open(request)
        return self._ask(request)

    def _describe(self, source: str) -> messages.Described:
        self._definitions = {each.name: each for each in load_definitions(source)}
        return messages.Described(definitions=tuple(_told(each) for each in self._definitions.values()))

    def _open(self, request: messages.Open) -> messages.Opened:
        definition = self._definitions.get(request.name)
        if definition is None:
            raise RuleFault("unloadable", f"{request.name}: no strategy of that name is declared there")
        self._rule = definition.build(definition.read(request.values, Place(("parameters",))))
        self._bars.clear()
        return messages.Opened(
            lookback=self._rule.lookback, digest=self._rule.digest, uses_position=self._rule.uses_position
        )

    def _ask(self, request: messages.Ask) -> messages.Answer:
        assert self._rule is not None
        if request.is_whole:
            bars = list(request.bars)
        else:
            bars = [*self._bars[request.series], *request.bars][-self._rule.lookback :]
        self._bars[request.series] = bars
        # A copy: what a strategy does to its window stays with that call.
        proposals = ask(self._rule, View(tuple(bars), request.position))
        return messages.Answer(wishes=tuple(_wish(proposal) for proposal in proposals))


def load_definitions(source: str) -> list[PythonDefinition]:
    """Return what a module's attribute, or a Python file, declares. Raises RuleFault with one sentence."""
    try:
        found = _declared(source)
    except (KeyboardInterrupt, RuleFault):
        raise
    except BaseException as error:
        # Whatever the author's module does when it is imported, also an exit, is its own failure.
        raise RuleFault("unloadable", f"{shown(source)}: raised {raised(error)} when it was loaded") from error
    if not found:
        raise RuleFault("unloadable", f"{shown(source)}: declares no strategy (put @strategy on a function or class)")
    return found


def _declared(source: str) -> list[PythonDefinition]:
    if source.endswith(".py"):
        module = _module_of(Path(source))
        found = [definition_of(each) for each in vars(module).values()]
        return [each for each in found if each is not None and each.declared.__module__ == module.__name__]
    name, _, attribute = source.partition(":")
    thing: object = importlib.import_module(name)
    for part in attribute.split(".") if attribute else []:
        thing = getattr(thing, part)
    definition = definition_of(thing)
    return [] if definition is None else [definition]


def _module_of(path: Path) -> ModuleType:
    name = "torghut_strategy_file"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _told(definition: PythonDefinition) -> messages.Declared:
    return messages.Declared(
        name=definition.name,
        version=definition.version,
        parameters=tuple(_parameter(each) for each in definition.parameters),
        timeframes=definition.timeframes,
    )


def _parameter(parameter: Parameter) -> messages.Told:
    return messages.Told(
        name=parameter.name,
        type=parameter.type.__name__,
        default=parameter.default,
        at_least=parameter.at_least,
        at_most=parameter.at_most,
        choices=parameter.choices,
        unit=parameter.unit,
        help=parameter.help,
    )


def _wish(proposal: Proposal) -> messages.Wish:
    return messages.Wish(
        side=proposal.side,
        rationale=proposal.rationale,
        qty=exact(proposal.qty),
        budget=exact(proposal.budget),
        limit=exact(proposal.limit),
        stop=exact(proposal.stop),
        target=exact(proposal.target),
    )


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are none."""
    bench, seconds = _Bench(), 0.0
    for request in _read(requests):
        if isinstance(request, messages.Describe):
            seconds = request.seconds
            resource.setrlimit(resource.RLIMIT_AS, (request.memory_bytes, request.memory_bytes))
        # Nobody handles this alarm: the kernel ends the process, whatever its code is doing.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 2 * seconds + 5)
        try:
            reply = bench.answer(request)
        except RuleFault as fault:
            reply = messages.Fault(reason=fault.reason, sentence=str(fault))
        except MisstatedError as error:
            reply = messages.Fault(reason="unloadable", sentence=str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  building a rule runs its author's code
            reply = messages.Fault(reason="unloadable", sentence=f"raised {raised(error)} when it was built")
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(messages.encode(reply))
        replies.flush()


def _read(requests: BinaryIO) -> Iterator[messages.Request]:
    while True:
        length = requests.read(messages.LENGTH_BYTES)
        if len(length) < messages.LENGTH_BYTES:
            return
        yield _REQUEST.decode(requests.read(int.from_bytes(length, "big")))


def main() -> None:
    """Take the pipes away from standard input and output, so that a `print` is no answer, and serve."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(requests, "rb") as source, os.fdopen(replies, "wb") as sink:
        serve(source, sink)


if __name__ == "__main__":
    main()
