"""Writes the package of a new strategy: an entry point, the strategy, a test that runs, a catalogue that trades it."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

from torghutctl.errors import InputError

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
_LONGEST = 50

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "NAME"
version = "0.1.0"
description = "A strategy for Torghut"
requires-python = ">=3.11"
dependencies = ["torghut"]

[project.optional-dependencies]
test = ["pytest>=8"]

# The name on the left must be the strategy's own.
[project.entry-points."torghut.strategies"]
NAME = "MODULE:propose"

[tool.hatch.build.targets.wheel]
packages = ["src/MODULE"]

[tool.pytest.ini_options]
pythonpath = ["src"]
testpaths = ["tests"]
"""

_STRATEGY = '''\
"""Buy when the close crosses above the session's VWAP while RSI14 is not high; sell some bars later.

This is a place to begin, not advice: replace the rule by your own. It sees `view.window` (bars with every column of
ta_signals), `view.position` (its own, None while flat) and `view.now_ns` with the minutes from the open and to the close;
it returns a Proposal, a list of at most one buy and one sell, or None. It must be pure: of the same view it says the same.
"""

from torghut_core.trading.strategies import Parameter, Proposal, View, strategy


@strategy(
    name="NAME",
    version="0.1.0",
    # Bars it sees, the judged one included: view.position.bars is counted over them.
    lookback=lambda hold_bars, **_: max(2, hold_bars + 1),
    parameters=[
        Parameter(name="rsi_below", type=float, default=60.0, at_least=0, at_most=100, unit="RSI14"),
        Parameter(name="hold_bars", type=int, default=30, at_least=1, at_most=500, unit="bars"),
        Parameter(name="stop_percent", type=float, default=1.0, at_least=0.1, at_most=50, unit="percent"),
    ],
)
def propose(view: View, *, rsi_below: float, hold_bars: int, stop_percent: float) -> Proposal | None:
    """Return what the strategy wants on the last bar of the window."""
    if view.position is not None:
        if view.position.bars < hold_bars:
            return None
        return Proposal(side="sell", rationale=f"held_for_{hold_bars}_bars")
    if len(view.window) < 2:
        return None
    before, now = view.window[-2], view.window[-1]
    # Any column may be null: nothing is known then, and nothing is proposed.
    if before.vwap_session is None or now.vwap_session is None or now.rsi14 is None:
        return None
    is_crossing = before.close <= before.vwap_session and now.close > now.vwap_session
    if not is_crossing or now.rsi14 >= rsi_below:
        return None
    stop = now.close * (1 - stop_percent / 100)
    return Proposal(side="buy", rationale="vwap_cross_up,rsi_not_high", stop=stop)
'''

_TEST = '''\
"""The strategy's decision table."""

import pytest

from torghut_core.trading.strategies import View
from torghut_core.trading.strategies.trial import bars, held

from MODULE import propose

SETTINGS = {"rsi_below": 60.0, "hold_bars": 3, "stop_percent": 1.0}


@pytest.mark.parametrize(
    ("closes", "rsi", "is_bought"),
    [
        ([99.0, 101.0], 40.0, True),
        ([100.0, 101.0], 40.0, True),
        ([101.0, 102.0], 40.0, False),
        ([99.0, 100.0], 40.0, False),
        ([99.0, 101.0], 60.0, False),
        ([99.0, 101.0], None, False),
    ],
)
def test_propose_when_bars_are_these_then_bought_or_not(closes, rsi, is_bought):
    """Only the cross, and only while RSI is low."""
    proposal = propose(View(bars(close=closes, vwap_session=100.0, rsi14=rsi)), **SETTINGS)
    assert (proposal is not None) is is_bought
    if proposal is not None:
        assert (proposal.side, proposal.stop) == ("buy", pytest.approx(closes[-1] * 0.99))


@pytest.mark.parametrize(("held_bars", "side"), [(2, None), (3, "sell")])
def test_propose_when_it_held_for_long_then_sold(held_bars, side):
    """A position is left after its time."""
    window = bars(close=[100.0, 101.0, 102.0, 103.0])
    position = held(qty=10, price=100.0, since=window[0], bars=held_bars)
    proposal = propose(View(window, position), **SETTINGS)
    assert (None if proposal is None else proposal.side) == side
'''

_CATALOGUE = """\
# What is traded: TRADING_STRATEGY_CONFIG_PATH names this file. Keys: docs/strategies/index.md.
strategies:
  - name: NAME
    rule: NAME
    base_timeframe: 1Min
    symbols: []                      # empty: every symbol of the universe
    max_notional_per_trade: 2000
    max_position_pct_equity: 0.1
    parameters:
      rsi_below: 60
      hold_bars: 30
      stop_percent: 1
"""

_README = """\
# NAME

A strategy for Torghut. The rule is in `src/MODULE/__init__.py`, its decision table in `tests/`, what is traded in
`catalogue.yaml`.

```
python -m pip install -e '.[test]'                           # makes it known by its entry point; brings pytest
python -m pytest                                             # the decision table
torghutctl trading backtest FILE --catalogue catalogue.yaml --report report
TRADING_STRATEGY_CONFIG_PATH=$PWD/catalogue.yaml torghutctl up   # on paper
```

Raise `version` when the rule changes: decisions carry it, with a digest of parameters and source.
"""


def check_name(name: str) -> str:
    """Return the Python module that a strategy of this name lives in. Raises InputError naming the rule it breaks."""
    from torghut_core.trading.strategies.declaration import CONDITIONS
    from torghut_core.trading.strategies.shipped import SHIPPED

    if len(name) > _LONGEST or _NAME.fullmatch(name) is None:
        shown = "".join(character for character in name[:60] if character.isprintable())
        raise InputError(
            f"NAME={shown!r}: must be 1 to {_LONGEST} lower-case letters and digits in words parted by single hyphens,"
            " the first a letter"
        )
    if name in (*SHIPPED.names, CONDITIONS):
        raise InputError(f"NAME={name!r}: is the name of a rule that ships; choose another")
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module in ("torghut", "tests", "pytest"):
        raise InputError(f"NAME={name!r}: its module {module} would hide one of Python's; choose another")
    return module


def write_package(name: str, folder: Path) -> tuple[Path, ...]:
    """Write the package into `folder`, which must not exist, and return its files. Raises InputError."""
    module = check_name(name)
    texts = {
        folder / "pyproject.toml": _PYPROJECT,
        folder / "README.md": _README,
        folder / "catalogue.yaml": _CATALOGUE,
        folder / "src" / module / "__init__.py": _STRATEGY,
        folder / "tests" / f"test_{module}.py": _TEST,
    }
    try:
        folder.mkdir(parents=True)
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("NAME", name).replace("MODULE", module), encoding="utf-8")
    except FileExistsError as error:
        raise InputError(f"DIR={str(folder)!r}: exists already; a new strategy gets a new folder") from error
    except OSError as error:
        raise InputError(f"DIR={str(folder)!r}: cannot be written ({error.strerror})") from error
    return tuple(texts)
