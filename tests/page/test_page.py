"""The page in a real browser over the whole running system: what a trader sees, by eye, by keyboard and on a phone."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fakes.running_system import RunningSystem, running_system
from tests.page.browser import ROOT, chromium, missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("page"),
]

_WAIT_MS = 60_000
_NOTE_VERDICTS = """() => {
  window.verdictsSeen = [];
  const verdict = document.getElementById('verdict');
  new MutationObserver(() => window.verdictsSeen.push(verdict.textContent)).observe(verdict, { childList: true });
}"""
_DRAWN = "() => document.getElementById('chart').drawn()"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def system(browser: Browser) -> Iterator[RunningSystem]:
    """The system with decisions made and the health report healthy: one for all tests of the page."""
    with tempfile.TemporaryDirectory(prefix="torghut-engine-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with running_system(Path(folder)) as running:
            page = browser.new_page()
            page.goto(f"{running.page}/?symbol=AAPL&window=1s")
            page.wait_for_function("() => document.querySelectorAll('#decisions tr').length > 0", timeout=240_000)
            page.wait_for_function(
                "() => document.getElementById('verdict').textContent === 'healthy'", timeout=120_000
            )
            # Far enough ahead of this machine's clock that a page going by its own would miss the newest bars.
            while _ahead_seconds(running) < 200:
                page.wait_for_timeout(250)
            page.close()
            yield running


def _ahead_seconds(system: RunningSystem) -> float:
    told = httpx.get(f"{system.page}/api/torghut/system").json()["serverTime"]
    return datetime.fromisoformat(told).timestamp() - time.time()


class Watched:
    """A page, with every console error and every request to another host noted."""

    def __init__(self, browser: Browser, system: RunningSystem, path: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(_WAIT_MS)
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "request", lambda made: None if made.url.startswith(system.page) else self.outside.append(made.url)
        )
        self.page.goto(system.page + path)
        self.page.wait_for_function("() => document.getElementById('chart').drawn().candles.length > 5")
        self.page.wait_for_function("() => document.getElementById('live').textContent === 'live'")


@pytest.fixture
def opened(browser: Browser, system: RunningSystem) -> Iterator[Any]:
    """Open pages; at the end none has seen a console error or asked another host for anything."""
    pages: list[Watched] = []

    def open_page(path: str = "/?symbol=AAPL&window=1s", **options: Any) -> Watched:
        pages.append(Watched(browser, system, path, **options))
        return pages[-1]

    yield open_page
    for each in pages:
        each.context.close()
    assert [(each.errors, each.outside) for each in pages] == [([], [])] * len(pages)


def test_page_when_opened_then_its_candles_and_indicators_are_the_apis(opened: Any, system: RunningSystem) -> None:
    """Every candle of the chart that lies in the API's answer is that bar, and each RSI that signal's."""
    page = opened().page
    before = page.evaluate(_DRAWN)["candles"][-1]["time"]
    # A bar comes a moment before its signal: what is compared is one look at which the newest of both are drawn.
    complete = (
        "() => { const seen = document.getElementById('chart').drawn(), last = seen.candles.at(-1).time;"
        f" return last > {before} && seen.rsi.some(point => point.time === last && 'value' in point) && seen; }}"
    )
    drawn = page.wait_for_function(complete).json_value()
    query = {"symbol": "AAPL", "window": "PT1S", "limit": "5000", "from": str(drawn["candles"][0]["time"] + 1)}
    query["to"] = str(drawn["candles"][-1]["time"] + 1)
    bars = httpx.get(f"{system.page}/api/torghut/ta/bars", params=query).json()["items"]
    signals = httpx.get(f"{system.page}/api/torghut/ta/signals", params=query).json()["items"]
    expected = {round(_seconds(row)) - 1: (row["o"], row["h"], row["l"], row["c"]) for row in bars}
    shown = {
        candle["time"]: tuple(candle[name] for name in ("open", "high", "low", "close")) for candle in drawn["candles"]
    }
    assert expected == shown
    rsi = {round(_seconds(row)) - 1: row["rsi14"] for row in signals if row["rsi14"] is not None}
    assert rsi == {point["time"]: point["value"] for point in drawn["rsi"] if "value" in point and point["time"] in rsi}
    assert len(rsi) > 5


def _seconds(row: dict[str, Any]) -> float:
    return datetime.fromisoformat(row["event_ts"]).timestamp()


def test_page_when_a_bar_comes_then_it_is_drawn_without_a_reload(opened: Any) -> None:
    """Live by the stream: no request for bars is made for it."""
    watched = opened()
    asked: list[str] = []
    watched.page.on("request", lambda made: asked.append(made.url) if "/ta/bars" in made.url else None)
    before = watched.page.evaluate(_DRAWN)["candles"][-1]["time"]
    watched.page.wait_for_function(f"() => document.getElementById('chart').drawn().candles.at(-1).time > {before + 5}")
    assert asked == []


def test_page_when_keys_are_pressed_then_symbol_interval_and_theme_change_and_the_address_says_so(opened: Any) -> None:
    """A trader's hands stay on the keyboard; going back goes back."""
    page = opened().page
    page.wait_for_selector("#symbols tr.selected")
    page.keyboard.press("j")
    page.wait_for_function("() => document.getElementById('title').textContent === 'MSFT'")
    assert "symbol=MSFT" in page.url
    assert page.evaluate("() => document.activeElement.textContent") == "MSFT"
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => document.getElementById('title').textContent === 'NVDA'")
    page.keyboard.press("3")
    page.wait_for_function(
        "() => document.querySelector('[data-interval=\"1m\"]').getAttribute('aria-pressed') === 'true'"
    )
    assert page.url.endswith("?symbol=NVDA&window=1m")
    before = page.evaluate("() => document.documentElement.dataset.theme")
    page.keyboard.press("t")
    assert page.evaluate("() => document.documentElement.dataset.theme") != before
    page.keyboard.press("/")
    page.keyboard.type("aa")
    page.wait_for_function("() => document.querySelectorAll('#symbols tr').length === 1")
    page.keyboard.press("Escape")
    page.go_back()
    page.wait_for_function(
        "() => document.querySelector('[data-interval=\"1s\"]').getAttribute('aria-pressed') === 'true'"
    )


def test_page_when_decisions_are_refused_then_why_not_is_read_in_the_list(opened: Any, system: RunningSystem) -> None:
    """The reasons are trading's own words; the filter shows the refused ones alone."""
    page = opened().page
    page.wait_for_function("() => document.querySelectorAll('#decisions tr').length > 0")
    page.select_option("#decisions-filter", "refused")
    decisions = httpx.get(f"{system.services['trading']['api']}/trading/decisions?limit=200").json()
    refused = {each["id"]: each["risk_reasons"] for each in decisions if each["risk_reasons"]}
    shown = page.eval_on_selector_all("#decisions tr", "rows => rows.map(row => [row.dataset.id, row.innerText])")
    assert all(identity in refused for identity, _ in shown if identity in {each["id"] for each in decisions})
    for identity, text in shown:
        for reason in (refused.get(identity) or "").split(";"):
            assert reason in text
    page.select_option("#decisions-filter", "all")
    assert page.locator("#decisions tr").count() >= len(shown)
    assert page.locator("#decisions .reasons").first.inner_text() != ""


_SHOWS_EQUITY = """async () => {
  const { account, equityCurve } = await (await fetch('/api/torghut/system')).json();
  const shown = Number(document.getElementById('equity').textContent.replaceAll(',', ''));
  const points = document.getElementById('curve-line').getAttribute('points') ?? '';
  const isNear = Math.abs(shown - account.equity) < 0.005 + Math.abs(account.equity) * 1e-5;
  return isNear && points.split(' ').length > 1 && Math.abs(points.split(' ').length - equityCurve.length) <= 2;
}"""


def test_page_when_the_account_is_known_then_paper_equity_and_its_curve_are_shown(
    opened: Any, system: RunningSystem
) -> None:
    """The badge, the broker's equity and one point of the curve for each that is kept."""
    page = opened().page
    page.wait_for_function(_SHOWS_EQUITY)
    assert page.inner_text("#badge") == "PAPER"
    account = httpx.get(f"{system.page}/api/torghut/system").json()["account"]
    assert 90_000 < account["equity"] < 110_000


def test_page_when_a_fault_comes_and_goes_then_the_strip_turns_within_five_seconds_and_back(
    opened: Any, system: RunningSystem
) -> None:
    """From the moment the forwarder says not ready: the cause and the next command are named, then all is well again."""
    page = opened().page
    page.wait_for_function("() => document.getElementById('verdict').textContent === 'healthy'")
    readyz = f"{system.services['forwarder']['health']}/readyz"
    system.market.call("/simulator/occupy", {})
    system.market.call("/simulator/disconnect", {"stream": "data"})
    try:
        _until_not_ready(readyz)
        page.wait_for_function("() => document.getElementById('verdict').textContent === 'down'", timeout=5_000)
        page.wait_for_selector("#cause-text:text('alpaca_406_second_connection')")
        assert "torghutctl restart-ws" in page.inner_text("#cause-next")
        assert page.get_attribute("#pipeline [data-part=forwarder]", "data-tone") == "bad"
    finally:
        system.market.call("/simulator/release", {})
    page.wait_for_function("() => document.getElementById('verdict').textContent === 'healthy'")
    assert page.is_hidden("#cause")


def test_page_when_an_answer_is_older_than_the_newest_event_then_the_strip_stays_as_the_event_said(
    opened: Any, system: RunningSystem
) -> None:
    """An answer about the system that was read while it was down came after the stream had said that all is well."""
    page = opened().page
    page.wait_for_function("() => document.getElementById('verdict').textContent === 'healthy'")
    old: dict[str, Any] = httpx.get(f"{system.page}/api/torghut/system").json()
    cause = {"component": "ta", "reason": "ta_failed", "message": "an answer of before", "since": None}
    old["verdict"] |= {"classification": "down", "topCause": cause}
    held: list[Any] = []
    page.route("**/api/torghut/system", lambda route: route.continue_() if held else held.append(route))
    try:
        system.market.call("/simulator/occupy", {})
        system.market.call("/simulator/disconnect", {"stream": "data"})
        page.wait_for_function("() => document.getElementById('verdict').textContent === 'down'")
    finally:
        system.market.call("/simulator/release", {})
    page.wait_for_function("() => document.getElementById('verdict').textContent === 'healthy'")
    page.evaluate(_NOTE_VERDICTS)
    with page.expect_request("**/api/torghut/system"):
        # The page asks once more for itself: what it asked before the event is answered only now.
        held[0].fulfill(json=old)
    page.wait_for_function("() => document.getElementById('verdict').textContent === 'healthy'")
    assert "down" not in page.evaluate("() => window.verdictsSeen")


def _until_not_ready(readyz: str) -> None:
    """Wait until the forwarder says it is not ready: the page's seconds are counted from there."""
    for _ in range(2000):
        if httpx.get(readyz).status_code == 503:
            return
    raise AssertionError("the forwarder stayed ready")


def test_page_when_the_server_falls_silent_then_everything_says_that_it_is_not_current(
    opened: Any, system: RunningSystem
) -> None:
    """Its connections stay open and nothing comes: the old page went on saying "updated"."""
    page = opened().page
    page.wait_for_selector("#symbols tr[data-freshness=fresh]")
    system.process.send_signal(signal.SIGSTOP)
    try:
        page.wait_for_function("() => document.getElementById('live').textContent.startsWith('not live')")
        page.wait_for_function("() => document.querySelectorAll('#symbols tr[data-freshness=fresh]').length === 0")
        assert page.inner_text("#verdict") == "not known"
    finally:
        system.process.send_signal(signal.SIGCONT)
    page.wait_for_function("() => document.getElementById('live').textContent === 'live'")
    page.wait_for_selector("#symbols tr[data-freshness=fresh]")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)], ids=["desk", "phone"])
def test_page_when_seen_in_any_size_and_theme_then_axe_finds_nothing_serious_and_nothing_overflows(
    opened: Any, theme: str, size: tuple[int, int]
) -> None:
    """Contrast, names, roles and focus by axe-core; with PAGE_SCREENSHOTS set, the pictures of the documentation."""
    axe = ROOT / "page" / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        missing("axe-core is not installed: `make page` needs npm")
    watched = opened(
        viewport={"width": size[0], "height": size[1]}, color_scheme=theme, bypass_csp=True, is_mobile=size[0] < 500
    )
    page = watched.page
    page.wait_for_function("() => document.querySelectorAll('#decisions tr').length > 0")
    page.wait_for_selector("#symbols tr[data-freshness=fresh]")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= size[0]
    page.add_script_tag(path=str(axe))
    found = page.evaluate("() => axe.run()")
    serious = [
        (each["id"], [node["html"][:150] for node in each["nodes"]][:3])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
    if folder := os.environ.get("PAGE_SCREENSHOTS"):
        name = f"page-{'phone' if size[0] < 500 else 'desk'}-{theme}.png"
        page.screenshot(path=Path(folder) / name, full_page=size[0] < 500)


def test_docs_when_opened_then_openapi_is_drawn_from_own_files(browser: Browser, system: RunningSystem) -> None:
    """Nothing from elsewhere, and no error."""
    page = browser.new_page()
    errors: list[str] = []
    outside: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("request", lambda made: None if made.url.startswith(system.page) else outside.append(made.url))
    page.goto(f"{system.page}/docs")
    page.wait_for_selector('[data-path="/api/torghut/ta/latest"]')
    assert (errors, [url for url in outside if not url.startswith("data:")]) == ([], [])
    page.close()
