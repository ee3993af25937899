/** The page: what is chosen (in the address), what is known, and who shows it. */

import { showAccount, showHoldings } from "./account";
import { get, RefusedError, setToken } from "./asking";
import { candlesOf, INTERVALS, Rows, type Interval } from "./candles";
import { Chart } from "./chart";
import { Decisions, marksOf, sayMark } from "./decisions";
import { age, byId, element, number, time, UNKNOWN } from "./format";
import { freshness } from "./freshness";
import { Live } from "./live";
import { showLost, showStrip } from "./strip";
import type { Bar, Decision, Headline, Moment, Signal, SystemAnswer, WindowSize } from "./types";
import { Universe } from "./universe";

interface Range<T> {
  items: T[];
  range: { fallback: boolean; effective: { from: string; to: string } };
}

const bars = new Rows<Bar>();
const signals = new Rows<Signal>();
let symbols: string[] = [];
let symbol = "";
let interval: Interval = INTERVALS[0] as Interval;
let moment: Moment | null = null;
let momentAt = 0;
/** The server's clock, which may be a simulated one, before the first moment is known. */
let serverMs: number | null = null;
let clockKnown: () => void;
const firstClock = new Promise<void>((done) => (clockKnown = done));
let isLive = false;
let answer: SystemAnswer | null = null;
let loading: AbortController | null = null;
let isLoaded = false;

const chart = new Chart(byId("chart"), (id, x, y) => {
  const tip = byId("tip");
  const text = id ? sayMark(id, answer, decisions.known) : "";
  tip.hidden = !text;
  tip.textContent = text;
  tip.style.left = `${Math.min(x + 12, Math.max(0, byId("chart").clientWidth - 240))}px`;
  tip.style.top = `${y + 12}px`;
});
const universe = new Universe((wanted) => choose(wanted, interval));
const decisions = new Decisions();
const live = new Live(onEvent, onLiveState);

function now(): number {
  if (moment) return Date.parse(moment.serverTime) + (moment.isClockSimulated ? 0 : performance.now() - momentAt);
  return serverMs ?? Date.now();
}

function takeMoment(found: Moment): void {
  moment = found;
  momentAt = performance.now();
  clockKnown();
}

/** Show a symbol at an interval, and say so in the address. */
function choose(wantedSymbol: string, wantedInterval: Interval, isFirst = false): void {
  const isOtherBase = wantedInterval.base !== interval.base;
  const isSame = wantedSymbol === symbol && wantedInterval === interval;
  symbol = wantedSymbol;
  interval = wantedInterval;
  const query = new URLSearchParams({ symbol, window: interval.name });
  if (isFirst || isSame) history.replaceState(null, "", `?${query}`);
  else history.pushState(null, "", `?${query}`);
  document.title = symbol ? `${symbol} ${interval.name} · Torghut` : "Torghut";
  byId("title").textContent = symbol || "no symbol";
  universe.select(symbol);
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-interval]")) button.setAttribute("aria-pressed", String(button.dataset["interval"] === interval.name));
  if (isOtherBase) {
    universe.clear();
    void loadNewest();
  }
  if (!isSame || isFirst) void load();
  decisions.set(answer?.decisions ?? null, symbol);
}

/** Read the chart's rows anew, and listen from there on. */
async function load(): Promise<void> {
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  isLoaded = false;
  bars.set([]);
  signals.set([]);
  chart.draw([], [], interval, true);
  if (!symbol) return;
  listen();
  await firstClock; // a range of this machine's time would miss what a simulated or a better clock calls now
  if (signal.aborted) return;
  const to = Math.floor(now() / 1000) + 120;
  const query = new URLSearchParams({ symbol, window: interval.base, from: String(Math.round(to - interval.reach)), to: String(to), limit: "5000" });
  try {
    const [foundBars, foundSignals] = await Promise.all([get<Range<Bar>>(`/api/torghut/ta/bars?${query}`, signal), get<Range<Signal>>(`/api/torghut/ta/signals?${query}`, signal)]);
    const met = { bars: bars.all, signals: signals.all };
    bars.set(foundBars.items);
    signals.set(foundSignals.items);
    for (const row of met.bars) bars.put(row);
    for (const row of met.signals) signals.put(row);
    isLoaded = true;
    chart.draw(bars.all, signals.all, interval, true);
    mark();
    const note = byId("chart-note");
    note.hidden = foundBars.items.length > 0 && !foundBars.range.fallback;
    note.textContent = foundBars.items.length ? `nothing lately: shown is what ends ${time(foundBars.range.effective.to)} New York` : "no bars yet";
    tick();
  } catch (error) {
    if (signal.aborted) return;
    byId("chart-note").hidden = false;
    byId("chart-note").textContent = `not loaded: ${said(error)}`;
    setTimeout(() => !signal.aborted && !isLoaded && void load(), 3_000);
  }
}

function listen(): void {
  live.listen(`/api/torghut/stream?${new URLSearchParams({ symbol, window: interval.base })}`);
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function onEvent(name: string, data: unknown): void {
  if (name === "bar") takeBar(data as Bar);
  else if (name === "signal") takeSignal(data as Signal);
  else if (name === "beat") takeMoment(data as Moment);
  else if (name === "decision") {
    decisions.take(data as Decision);
    mark();
  } else if (name === "system") {
    headlines += 1;
    showHeadline(data as Headline);
    void loadSystem();
  } else if (name === "reset") {
    void load();
    void loadNewest();
    void loadSystem();
  }
}

function takeBar(bar: Bar): void {
  if (bar.window_size === interval.base) universe.take(bar);
  if (bar.symbol !== symbol || bar.window_size !== interval.base) return;
  bars.put(bar);
  if (isLoaded) chart.addBar(bar, bars.all, interval);
  byId("chart-note").hidden = isLoaded || byId("chart-note").hidden;
}

function takeSignal(signal: Signal): void {
  if (signal.symbol !== symbol || signal.window_size !== interval.base) return;
  signals.put(signal);
  if (isLoaded) chart.addSignal(signal, interval);
}

function onLiveState(state: "live" | "lost" | "refused", why: string): void {
  const wasLive = isLive;
  isLive = state === "live";
  const word = byId("live");
  word.textContent = isLive ? "live" : `not live: ${why}`;
  word.dataset["tone"] = isLive ? "good" : "bad";
  byId("token-ask").hidden = state !== "refused";
  if (isLive && !wasLive) {
    void loadSystem();
    void loadNewest();
    void loadSymbols();
  }
  if (!isLive && wasLive) showLost(`this page's server does not answer: ${why}`);
  tick();
}

let systemWanted = false;
let systemRunning = false;
/** Headlines that came by the stream: an answer that was asked for before the newest of them may be older than it. */
let headlines = 0;

function showHeadline(headline: Headline): void {
  takeMoment(headline);
  showStrip(headline);
  showAccount(headline.account);
}

/** Read the system's state; one reading at a time, and one more when asked meanwhile. */
async function loadSystem(): Promise<void> {
  systemWanted = true;
  if (systemRunning) return;
  systemRunning = true;
  try {
    while (systemWanted) {
      systemWanted = false;
      const before = headlines;
      answer = await get<SystemAnswer>("/api/torghut/system");
      if (headlines === before) showHeadline(answer);
      showHoldings(answer);
      decisions.set(answer.decisions, symbol);
      mark();
      await new Promise((done) => setTimeout(done, 1_000));
    }
  } catch (error) {
    if (error instanceof RefusedError) byId("token-ask").hidden = false;
    else showLost(`the system's state could not be read: ${said(error)}`);
  } finally {
    systemRunning = false;
  }
}

async function loadSymbols(): Promise<void> {
  try {
    const found = await get<{ symbols: string[] }>("/api/torghut/symbols");
    symbols = found.symbols;
    universe.set(symbols);
    universe.select(symbol);
    byId("symbols-empty").textContent = "no symbols yet";
    if (!symbol && symbols[0]) choose(symbols[0], interval, true);
  } catch (error) {
    byId("symbols-empty").hidden = false;
    byId("symbols-empty").textContent = `symbols are not known: ${said(error)}`;
  }
}

async function loadNewest(): Promise<void> {
  const window: WindowSize = interval.base;
  try {
    const found = await get<{ bars: Bar[]; serverTime: string }>(`/api/torghut/ta/newest?window=${window}`);
    serverMs = Date.parse(found.serverTime);
    clockKnown();
    if (window !== interval.base) return;
    for (const bar of found.bars) universe.take(bar);
    tick();
  } catch {
    // Ages go on by themselves, and say that nothing came.
    setTimeout(() => window === interval.base && serverMs === null && void loadNewest(), 3_000);
  }
}

function mark(): void {
  chart.mark(marksOf(answer, decisions.known, symbol), interval);
}

/** What changes with time alone: ages, the clock, the newest row in words. */
function tick(): void {
  byId("clock").textContent = moment ? `${time(now())} New York · ${moment.marketSession}${moment.marketDay ? ` (${moment.marketDay})` : ""}${moment.isClockSimulated ? " · simulated clock" : ""}` : UNKNOWN;
  const trouble = byId("store");
  trouble.hidden = !moment?.storeTrouble;
  trouble.textContent = moment?.storeTrouble ? `ClickHouse does not answer (${moment.storeTrouble}): prices are not current` : "";
  universe.tick(moment, now(), interval.base, isLive && !moment?.storeTrouble);
  const bar = bars.all.at(-1);
  const signal = signals.all.at(-1);
  const at = bar ? Date.parse(bar.event_ts) : null;
  const word = moment ? freshness(at, now(), moment.marketSession, interval.base) : "none";
  const figures = byId("figures");
  figures.dataset["freshness"] = isLive ? word : "stale";
  const last = candlesOf(bars.all.slice(-interval.seconds * 2), interval).at(-1);
  const shown: [string, string][] = [
    ["close", number(last?.close)], ["volume", number(last?.volume, 0)], ["RSI", number(signal?.rsi14, 1)], ["MACD", number(signal?.macd, 3)],
    ["VWAP", number(signal?.vwap_session)], ["spread", number(signal?.imbalance_spread, 3)],
    ["age", at === null ? "no data" : `${age((now() - at) / 1000)}${word === "fresh" ? "" : ` ${word}`}`],
  ];
  figures.replaceChildren(...shown.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", { text: value })]));
  chart.describe(`${symbol} ${interval.name} candles, newest close ${number(last?.close)}, ${shown.at(-1)?.[1]} old`);
}

function paint(): void {
  const style = getComputedStyle(document.documentElement);
  chart.paint(style.getPropertyValue("--text").trim(), style.getPropertyValue("--line").trim());
}

function setTheme(theme: string | null): void {
  const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset["theme"] = dark ? "dark" : "light";
  byId("theme").textContent = dark ? "light" : "dark";
  byId("theme").setAttribute("aria-label", `use the ${dark ? "light" : "dark"} theme`);
  paint();
}

function switchTheme(): void {
  const next = document.documentElement.dataset["theme"] === "dark" ? "light" : "dark";
  localStorage.setItem("torghut-theme", next);
  setTheme(next);
}

function fromAddress(): { symbol: string; interval: Interval } {
  const query = new URLSearchParams(location.search);
  const given = (query.get("symbol") ?? "").toUpperCase();
  const aliases: Record<string, string> = { PT1S: "1s", PT1M: "1m" };
  const name = query.get("window") ?? "1s";
  const found = INTERVALS.find((each) => each.name === (aliases[name] ?? name));
  return { symbol: /^[A-Z0-9._:-]{1,32}$/.test(given) ? given : "", interval: found ?? (INTERVALS[0] as Interval) };
}

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  const isTyping = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
  if (isTyping) {
    if (event.key === "Escape") target.blur();
    return;
  }
  const isInList = target instanceof HTMLElement && target.closest("#symbols") !== null;
  if (event.key === "j" || (isInList && event.key === "ArrowDown")) universe.step(1);
  else if (event.key === "k" || (isInList && event.key === "ArrowUp")) universe.step(-1);
  else if (event.key === "/") universe.focusFilter();
  else if (event.key === "t") switchTheme();
  else if (/^[1-6]$/.test(event.key)) choose(symbol, INTERVALS[Number(event.key) - 1] as Interval);
  else return;
  event.preventDefault();
}

byId("intervals").replaceChildren(
  ...INTERVALS.map((each) => {
    const button = element("button", { text: each.name });
    button.type = "button";
    button.dataset["interval"] = each.name;
    button.addEventListener("click", () => choose(symbol, each));
    return button;
  }),
);
byId("theme").addEventListener("click", switchTheme);
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken((byId("token") as HTMLInputElement).value.trim());
  byId("token-ask").hidden = true;
  listen();
  void loadSystem();
});
document.addEventListener("keydown", onKey);
addEventListener("popstate", () => {
  const wanted = fromAddress();
  choose(wanted.symbol || symbol, wanted.interval);
});
setTheme(localStorage.getItem("torghut-theme"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(localStorage.getItem("torghut-theme")));

const start = fromAddress();
interval = start.interval;
if (start.symbol) choose(start.symbol, start.interval, true);
void loadSymbols();
void loadNewest();
void loadSystem();
setInterval(tick, 1_000);
setInterval(() => void loadSymbols(), 30_000);
tick();
