"""Strategies from outside, each in a process of its own, so that one that never answers can be ended.

Nothing inside a Python process reliably interrupts a loop that catches everything: its end from outside does.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from torghut_core.clock import Clock
from torghut_core.trading.model import Proposal, Side, Signal
from torghut_core.trading.strategies import messages
from torghut_core.trading.strategies.definition import Definition
from torghut_core.trading.strategies.judgement import checked
from torghut_core.trading.strategies.library import Library
from torghut_core.trading.strategies.parameters import Parameter, Value, read
from torghut_core.trading.strategies.places import Place, shown
from torghut_core.trading.strategies.rule import MOST_BARS, RuleFault, View

if TYPE_CHECKING:
    from torghut_core.trading.strategies.rule import Columns, Mask

GROUP = "torghut.strategies"
"""The entry points by which installed packages name their strategies."""
MEMORY_MB = 2048
"""Mebibytes of addresses that such a process may have, Python and the author's libraries among them."""
_LOAD_SECONDS = 8.0
"""For Python to start and the author's imports; under the 15 s in which the loop must turn."""
_KEPT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "TZ", "HOME")
"""All that such a process is told of the environment: no credential, no address."""
_REPLY = msgspec.msgpack.Decoder(messages.Reply)
_TYPES: Mapping[str, type[bool] | type[int] | type[float] | type[str]] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
}
_Reply = TypeVar("_Reply", messages.Described, messages.Opened, messages.Answer)


class Worker:
    """A process that holds one strategy, asked one thing at a time."""

    def __init__(
        self,
        source: str,
        *,
        name: str,
        clock: Clock,
        seconds: float,
        environment: Mapping[str, str],
        memory_mb: int = MEMORY_MB,
    ) -> None:
        self._name = name
        self._clock = clock
        self._process = subprocess.Popen(
            [sys.executable, "-m", "torghut_core.trading.strategies.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={key: environment[key] for key in _KEPT if key in environment},
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._into, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._into, False)
        os.set_blocking(self._from, False)
        try:
            self.described = self.call(
                messages.Describe(source=source, seconds=seconds, memory_bytes=memory_mb << 20),
                messages.Described,
                seconds=_LOAD_SECONDS,
            )
        except RuleFault:
            self.close()
            raise

    @property
    def process_id(self) -> int | None:
        """The process's id; None once it has ended."""
        return self._process.pid if self._process.poll() is None else None

    def call(self, request: messages.Request, kind: type[_Reply], *, seconds: float) -> _Reply:
        """Return the answer to a request. Raises RuleFault; the process is gone after `deadline` and `died`."""
        ends = self._clock.monotonic() + seconds
        try:
            self._send(messages.encode(request), ends)
            length = int.from_bytes(self._receive(messages.LENGTH_BYTES, ends), "big")
            if length > messages.MOST_BYTES:
                raise RuleFault("died", f"{self._name}: its process answered what is no answer; it was ended")
            reply = _REPLY.decode(self._receive(length, ends))
        except RuleFault:
            self.close()
            raise
        except TimeoutError as error:
            self.close()
            raise RuleFault(
                "deadline",
                f"{self._name}: gave no answer within {seconds:g} s; its process was ended, and it is off until the"
                " catalogue changes or trading starts again",
            ) from error
        except (OSError, EOFError, msgspec.DecodeError) as error:
            self.close()
            code = self._process.returncode
            raise RuleFault(
                "died",
                f"{self._name}: its process ended by itself (code {code}); it is off until the catalogue changes or"
                " trading starts again",
            ) from error
        if isinstance(reply, messages.Fault):
            raise RuleFault(reply.reason, reply.sentence)
        if not isinstance(reply, kind):
            self.close()
            raise RuleFault("died", f"{self._name}: its process answered another question; it was ended")
        return reply

    def _send(self, data: bytes, ends: float) -> None:
        rest = memoryview(data)
        while rest:
            self._wait(self._into, select.POLLOUT, ends)
            try:
                rest = rest[os.write(self._into, rest) :]
            except BlockingIOError:
                continue

    def _receive(self, count: int, ends: float) -> bytes:
        found = bytearray()
        while len(found) < count:
            self._wait(self._from, select.POLLIN, ends)
            try:
                part = os.read(self._from, count - len(found))
            except BlockingIOError:
                continue
            if not part:
                raise EOFError
            found += part
        return bytes(found)

    def _wait(self, descriptor: int, event: int, ends: float) -> None:
        left = ends - self._clock.monotonic()
        poll = select.poll()
        poll.register(descriptor, event)
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError

    def close(self) -> None:
        """End the process at once; it holds nothing that could be lost."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                # Unbuffered by now: nothing of it is written any more.
                _close_quietly(pipe)


def _close_quietly(pipe: object) -> None:
    try:
        pipe.close()  # type: ignore[attr-defined]
    except OSError:
        return


@dataclass
class IsolatedRule:
    """A rule in a process of its own. Bars that it was told already are not told again."""

    name: str
    version: str
    digest: str
    lookback: int
    uses_position: bool
    worker: Worker
    seconds: float
    _told: dict[str, Signal] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def propose(self, view: View) -> Sequence[Proposal]:
        """Return what it wants. Raises RuleFault."""
        signal, window = view.signal, view.window
        series = f"{signal.symbol} {signal.timeframe}"
        with self._lock:
            is_next = len(window) > 1 and self._told.get(series) is window[-2]
            bars = (signal,) if is_next else tuple(window[-self.lookback :])
            request = messages.Ask(series=series, bars=bars, is_whole=not is_next, position=view.position)
            answer = self.worker.call(request, messages.Answer, seconds=self.seconds)
            self._told[series] = signal
        proposals = tuple(_proposal(wish) for wish in answer.wishes)
        try:
            return checked(proposals, view)
        except ValueError as error:
            raise RuleFault("nonsense", f"{self.name}: {error}; nothing is traded") from error

    def candidates(self, _columns: Columns) -> Mask | None:
        """Every row: what its author's mask leaves is not asked for across processes."""
        return None

    def close(self) -> None:
        """End its process."""
        self.worker.close()


def _proposal(wish: messages.Wish) -> Proposal:
    return Proposal(
        side=cast(Side, wish.side),
        rationale=wish.rationale,
        qty=wish.qty,
        budget=wish.budget,
        limit=wish.limit,
        stop=wish.stop,
        target=wish.target,
    )


@dataclass(frozen=True, kw_only=True)
class IsolatedDefinition:
    """A definition whose code stays in other processes."""

    name: str
    version: str
    parameters: tuple[Parameter, ...]
    timeframes: tuple[str, ...]
    source: str
    clock: Clock
    seconds: float
    environment: Mapping[str, str]
    memory_mb: int = MEMORY_MB

    def read(self, given: Mapping[str, object], place: Place) -> dict[str, Value]:
        """Return all parameters. Raises MisstatedError naming key, value and rule."""
        return read(self.parameters, given, place, rule=self.name)

    def verify(self, values: Mapping[str, Value], place: Place) -> None:
        """Raise MisstatedError when its author's own check, or making the rule, fails."""
        try:
            self.build(values).close()
        except RuleFault as fault:
            raise place.refused(str(fault).removeprefix("parameters: ")) from fault

    def build(self, values: Mapping[str, Value]) -> IsolatedRule:
        """Start its process, and return the rule in it. Raises RuleFault."""
        worker = open_worker(self)
        try:
            opened = worker.call(
                messages.Open(name=self.name, values=dict(values)), messages.Opened, seconds=_LOAD_SECONDS
            )
        except RuleFault:
            worker.close()
            raise
        if not 1 <= opened.lookback <= MOST_BARS:
            worker.close()
            raise RuleFault("unloadable", f"{self.name}: lookback must be a whole number from 1 to {MOST_BARS} bars")
        return IsolatedRule(
            name=self.name,
            version=self.version,
            digest=shown(opened.digest),
            lookback=opened.lookback,
            uses_position=opened.uses_position,
            worker=worker,
            seconds=self.seconds,
        )


def open_worker(definition: IsolatedDefinition) -> Worker:
    """Start a process that has loaded the definition's source. Raises RuleFault."""
    return Worker(
        definition.source,
        name=definition.name,
        clock=definition.clock,
        seconds=definition.seconds,
        environment=definition.environment,
        memory_mb=definition.memory_mb,
    )


class OpenLibrary:
    """The shipped rules, those that installed packages name, and those of given files; asked for when they are named.

    What stands in a file goes before a package's rule of the same name; a shipped name is nobody else's.
    """

    def __init__(
        self,
        shipped: Library,
        *,
        clock: Clock,
        seconds: float,
        environment: Mapping[str, str],
        files: Iterable[Path] = (),
        packages: Iterable[EntryPoint] | None = None,
        memory_mb: int = MEMORY_MB,
    ) -> None:
        self._shipped = shipped
        self._clock = clock
        self._seconds = seconds
        self._environment = environment
        self._memory_mb = memory_mb
        found = entry_points(group=GROUP) if packages is None else packages
        self._packages = {each.name: each for each in found if each.name not in shipped.names}
        self._troubles: dict[str, str] = {}
        self._loaded: dict[str, Definition] = {}
        self._files: dict[str, Definition] = {}
        for file in files:
            for definition in self.describe(str(file.resolve()), name=file.name):
                if definition.name in shipped.names:
                    raise RuleFault("unloadable", f"{file}: strategy name {definition.name!r} is one that ships")
                self._files[definition.name] = definition

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted({*self._shipped.names, *self._packages, *self._files}))

    @property
    def file_names(self) -> tuple[str, ...]:
        """The strategies that the files declare."""
        return tuple(self._files)

    def trouble(self, name: str) -> str | None:
        """Return why a strategy that a package names cannot be used."""
        return self._troubles.get(name)

    def forget(self) -> None:
        """Load packages anew when they are asked for next."""
        self._troubles.clear()
        self._loaded.clear()

    def get(self, name: str) -> Definition | None:
        """Return the definition of that name, loading a package's code, once, in a process of its own."""
        known = self._shipped.get(name) or self._files.get(name) or self._loaded.get(name)
        if known is not None or name not in self._packages or name in self._troubles:
            return known
        try:
            found = self.describe(self._packages[name].value, name=name)
        except RuleFault as fault:
            self._troubles[name] = str(fault)
            return None
        definition = next((each for each in found if each.name == name), None)
        if definition is None:
            self._troubles[name] = f"the package declares {found[0].name!r} under this entry point; the two must agree"
        else:
            self._loaded[name] = definition
        return definition

    def describe(self, source: str, *, name: str) -> tuple[IsolatedDefinition, ...]:
        """Return what a source declares. Raises RuleFault with one sentence."""
        worker = Worker(
            source,
            name=name,
            clock=self._clock,
            seconds=self._seconds,
            environment=self._environment,
            memory_mb=self._memory_mb,
        )
        worker.close()
        return tuple(self._definition(source, each) for each in worker.described.definitions)

    def _definition(self, source: str, declared: messages.Declared) -> IsolatedDefinition:
        try:
            parameters = tuple(_parameter(told) for told in declared.parameters)
        except (ValueError, KeyError) as error:
            raise RuleFault("unloadable", f"{shown(declared.name)}: {error}") from error
        return IsolatedDefinition(
            name=shown(declared.name),
            version=shown(declared.version),
            parameters=parameters,
            timeframes=declared.timeframes,
            source=source,
            clock=self._clock,
            seconds=self._seconds,
            environment=self._environment,
            memory_mb=self._memory_mb,
        )


def _parameter(told: messages.Told) -> Parameter:
    return Parameter(
        name=told.name,
        type=_TYPES[told.type],
        default=told.default,
        at_least=told.at_least,
        at_most=told.at_most,
        choices=told.choices,
        unit=told.unit,
        help=told.help,
    )
