"""Command-line options of the simulator, checked before anything starts."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal, cast

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.errors import ConfigurationError
from torghut_core.market_calendar import NEW_YORK, CalendarName
from torghut_core.rfc3339 import parse_ns
from torghut_core.simulator.clock import MAX_SPEED

DEFAULT_SYMBOLS = "AAPL,MSFT,NVDA,AMZN,TSLA"
DEFAULT_KEY_ID = "PKSIMULATED"
DEFAULT_SECRET_KEY = "simulated-secret"  # noqa: S105  the simulator's own, of no use anywhere else
_DUMP_DAY = date(2026, 1, 5)
_SYMBOL = re.compile(r"[A-Z][A-Z0-9.]{0,11}")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the simulator was told."""

    host: str
    port: int
    announce: Path | None
    seed: int
    symbols: tuple[str, ...]
    market: Literal["generated", "replay"]
    file: Path | None
    speed: float
    clock_file: Path | None
    calendar: CalendarName
    key_id: str
    secret_key: str
    account_number: str
    cash: Decimal
    fees: bool
    start: str | None
    hold: bool
    history_minutes: int
    late_trades: float
    feeds: frozenset[str]
    symbol_limit: int | None
    auth_seconds: float
    with_parent: int | None
    dump: Path | None
    minutes: float

    def start_ns(self, day: date) -> int | None:
        """Return `--start` in nanoseconds: RFC 3339, or HH:MM New York on `day`; None when it was not given."""
        if self.start is None:
            return None
        if len(self.start) == 5:
            moment = datetime.combine(day, time.fromisoformat(self.start), NEW_YORK)
            return int(moment.timestamp()) * NANOS_PER_SECOND
        return parse_ns(self.start)

    def dump_start_ns(self) -> int:
        """Return when a dump begins: `--start`, or the opening of a fixed day, so that it is the same every time."""
        opening = datetime.combine(_DUMP_DAY, time(9, 30), NEW_YORK)
        return self.start_ns(_DUMP_DAY) or int(opening.timestamp()) * NANOS_PER_SECOND


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # argparse would print its usage first
        raise ConfigurationError(message, hint="python -m torghut_core.simulator --help lists the options")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m torghut_core.simulator",
        description="A market and an Alpaca-compatible server over it: stock stream ws://HOST:PORT/v2/iex, trading "
        "stream ws://HOST:PORT/stream, REST http://HOST:PORT/v2/..., control http://HOST:PORT/simulator/....",
        epilog="Example: python -m torghut_core.simulator --port 8500 --market replay --file day.ndjson.gz --speed 60",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", type=int, default=0, help="port to listen on; 0 lets the machine choose")
    add("--announce", type=Path, help="JSON file to write when ready: pid, port, http, ws")
    add(
        "--market", choices=("generated", "replay"), default="generated", help="made from the seed, or read from --file"
    )
    add("--file", type=Path, help="Alpaca messages for --market replay, one JSON a line; .gz and .zst are unpacked")
    add("--seed", type=int, default=1, help="the same seed makes the same market, order ids and faults")
    add("--symbols", default=DEFAULT_SYMBOLS, help=f"symbols of a generated market ({DEFAULT_SYMBOLS})")
    add("--speed", type=float, default=1.0, help=f"simulated seconds per real second, above 0, up to {MAX_SPEED:g} (1)")
    add("--start", help="HH:MM New York, or RFC 3339: where the market begins; a replay leaves out what is earlier")
    add("--hold", action="store_true", help="time stands still until the first subscription, or POST /simulator/resume")
    add("--history-minutes", type=int, default=40, help="a generated market's past, for REST to answer from (40)")
    add("--late-trades", type=float, help="trades per symbol and hour that arrive a minute late (12; in a dump 0)")
    add("--clock-file", type=Path, help="file to share the market's time through (TORGHUT_CLOCK=file:PATH)")
    add("--calendar", choices=("XNYS", "always-open"), default="XNYS", help="sessions to follow (XNYS)")
    add("--key-id", default=DEFAULT_KEY_ID, help=f"the account's key id ({DEFAULT_KEY_ID})")
    add("--secret-key", default=DEFAULT_SECRET_KEY, help=f"the account's secret ({DEFAULT_SECRET_KEY})")
    add("--account-number", default="PA0SIMULATED", help="the account's number (PA0SIMULATED)")
    add("--cash", default="100000", help="the account's starting cash (100000)")
    add(
        "--fees",
        action="store_true",
        help="charge the regulators' fees of each day's sales, as a live account; a paper one is charged none",
    )
    add("--feeds", default="iex,sip,delayed_sip,overnight", help="feeds the account's plan includes; others answer 409")
    add("--symbol-limit", type=int, help="symbols allowed in trades and quotes together; beyond it 405 (no limit)")
    add("--auth-seconds", type=float, default=10.0, help="how long a client may take to authenticate, then 404 (10)")
    add(
        "--with-parent",
        type=int,
        nargs="?",
        const=0,
        metavar="PID",
        help="end when the process that started this one has ended; its PID makes that certain from the very start",
    )
    add("--dump", type=Path, help="write --minutes of the generated market to this file and end; .gz is packed")
    add("--minutes", type=float, default=10.0, help="length of a dump in market minutes (10)")
    return parser


def parse_options(arguments: Sequence[str]) -> Options:
    """Return the options. Raises ConfigurationError that names option, value and rule."""
    given = _parser().parse_args(arguments)
    symbols = tuple(dict.fromkeys(part.strip().upper() for part in given.symbols.split(",") if part.strip()))
    bad = next((symbol for symbol in symbols if _SYMBOL.fullmatch(symbol) is None), None)
    _require(bool(symbols) and bad is None, f"--symbols {given.symbols!r}", f"must list symbols, as {DEFAULT_SYMBOLS}")
    _require(0 <= given.port <= 65535, f"--port {given.port}", "must be 0 to 65535")
    _require(0 < given.speed <= MAX_SPEED, f"--speed {given.speed:g}", f"must be above 0 and at most {MAX_SPEED:g}")
    _require(0 <= given.history_minutes <= 1440, f"--history-minutes {given.history_minutes}", "must be 0 to 1440")
    _require(0 < given.minutes <= 1440, f"--minutes {given.minutes:g}", "must be above 0 and at most 1440")
    _require(given.auth_seconds > 0, f"--auth-seconds {given.auth_seconds:g}", "must be above 0")
    is_replay = given.market == "replay"
    _require(not is_replay or given.file is not None, "--market replay", "needs --file")
    _require(is_replay or given.file is None, f"--file {given.file}", "needs --market replay")
    _require(given.file is None or given.file.is_file(), f"--file {given.file}", "must be an existing file")
    late_trades = given.late_trades if given.late_trades is not None else (0.0 if given.dump else 12.0)
    _require(0 <= late_trades <= 360, f"--late-trades {late_trades:g}", "must be 0 to 360")
    return Options(
        host=given.host,
        port=given.port,
        announce=given.announce,
        seed=given.seed,
        symbols=symbols,
        market=cast(Literal["generated", "replay"], given.market),
        file=given.file,
        speed=given.speed,
        clock_file=given.clock_file,
        calendar=cast(CalendarName, given.calendar),
        key_id=given.key_id,
        secret_key=given.secret_key,
        account_number=given.account_number,
        cash=_cash(given.cash),
        fees=given.fees,
        start=_start(given.start),
        hold=given.hold,
        history_minutes=given.history_minutes,
        late_trades=late_trades,
        feeds=frozenset(part.strip() for part in given.feeds.split(",") if part.strip()),
        symbol_limit=given.symbol_limit,
        auth_seconds=given.auth_seconds,
        with_parent=given.with_parent,
        dump=given.dump,
        minutes=given.minutes,
    )


def _require(is_met: bool, subject: str, rule: str) -> None:
    if not is_met:
        raise ConfigurationError(f"{subject}: {rule}")


def _cash(text: str) -> Decimal:
    try:
        cash = Decimal(text)
    except InvalidOperation:
        cash = Decimal(-1)
    _require(cash.is_finite() and 0 <= cash < 10**12, f"--cash {text}", "must be an amount of at least 0")
    return cash


def _start(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        if len(text) == 5:
            time.fromisoformat(text)
        else:
            parse_ns(text)
    except ValueError:
        raise ConfigurationError(f"--start {text!r}: must be HH:MM in New York, or RFC 3339 with a zone") from None
    return text
