/** The list of symbols: last price, change, freshness; sorted, filtered, and walked by keyboard. */

import { age, byId, element, number, signed, UNKNOWN } from "./format";
import { freshness } from "./freshness";
import type { Bar, Moment } from "./types";

type Column = "symbol" | "price" | "change" | "age";

interface Line {
  row: HTMLTableRowElement;
  button: HTMLButtonElement;
  price: HTMLTableCellElement;
  change: HTMLTableCellElement;
  fresh: HTMLTableCellElement;
}

export class Universe {
  private symbols: string[] = [];
  private readonly newest = new Map<string, Bar>();
  /** The close that the change is counted from: the first that this page saw. */
  private readonly first = new Map<string, number>();
  private readonly lines = new Map<string, Line>();
  private column: Column = "symbol";
  private isDown = false;
  private selected = "";
  private readonly body = byId("symbols") as HTMLTableSectionElement;
  private readonly filter = byId("filter") as HTMLInputElement;

  constructor(private readonly choose: (symbol: string) => void) {
    this.filter.addEventListener("input", () => this.arrange());
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-sort]")) {
      button.addEventListener("click", () => {
        const column = button.dataset["sort"] as Column;
        this.isDown = column === this.column ? !this.isDown : column !== "symbol";
        this.column = column;
        this.arrange();
      });
    }
  }

  set(symbols: readonly string[]): void {
    this.symbols = [...symbols];
    for (const [symbol, line] of this.lines) {
      if (!symbols.includes(symbol)) {
        line.row.remove();
        this.lines.delete(symbol);
      }
    }
    for (const symbol of symbols) if (!this.lines.has(symbol)) this.lines.set(symbol, this.line(symbol));
    byId("symbols-empty").hidden = symbols.length > 0;
    this.arrange();
  }

  /** Forget prices, as when the window changes. */
  clear(): void {
    this.newest.clear();
    this.first.clear();
  }

  base(symbol: string, close: number): void {
    this.first.set(symbol, close);
  }

  take(bar: Bar): void {
    const held = this.newest.get(bar.symbol);
    if (held && held.event_ts > bar.event_ts) return;
    this.newest.set(bar.symbol, bar);
    if (!this.first.has(bar.symbol)) this.first.set(bar.symbol, bar.o);
  }

  /** Show prices and ages as of now; stale data look stale at once, whether or not anything arrives. */
  tick(moment: Moment | null, nowMs: number, window: string, isLive: boolean): void {
    for (const [symbol, line] of this.lines) {
      const bar = this.newest.get(symbol);
      const at = bar ? Date.parse(bar.event_ts) : null;
      const word = moment ? freshness(at, nowMs, moment.marketSession, window) : "none";
      line.price.textContent = number(bar?.c);
      const change = this.change(symbol);
      line.change.textContent = change === null ? UNKNOWN : `${signed(change)}%`;
      line.change.className = change === null || change === 0 ? "" : change > 0 ? "up" : "down";
      const text = at === null ? "no data" : `${age((nowMs - at) / 1000)}${word === "fresh" ? "" : ` ${word}`}`;
      line.fresh.textContent = isLive ? text : `${text} ?`;
      line.row.dataset["freshness"] = isLive ? word : "stale";
    }
    if (this.column !== "symbol") this.arrange();
  }

  select(symbol: string): void {
    this.selected = symbol;
    for (const [name, line] of this.lines) {
      line.button.setAttribute("aria-pressed", String(name === symbol));
      line.row.classList.toggle("selected", name === symbol);
    }
  }

  /** Go `by` symbols on in the order shown. */
  step(by: number): void {
    const shown = this.shown();
    const next = shown[(shown.indexOf(this.selected) + by + shown.length) % shown.length];
    if (!next) return;
    this.choose(next);
    this.lines.get(next)?.button.focus({ preventScroll: false });
  }

  focusFilter(): void {
    this.filter.focus();
  }

  change(symbol: string): number | null {
    const first = this.first.get(symbol);
    const bar = this.newest.get(symbol);
    return first && bar ? (100 * (bar.c - first)) / first : null;
  }

  private shown(): string[] {
    const wanted = this.filter.value.trim().toUpperCase();
    const found = this.symbols.filter((symbol) => symbol.includes(wanted));
    const value = (symbol: string): number => {
      const bar = this.newest.get(symbol);
      if (this.column === "price") return bar?.c ?? -Infinity;
      if (this.column === "change") return this.change(symbol) ?? -Infinity;
      return bar ? -Date.parse(bar.event_ts) : Infinity;
    };
    found.sort((a, b) => (this.column === "symbol" ? a.localeCompare(b) : value(a) - value(b) || a.localeCompare(b)));
    return this.isDown ? found.reverse() : found;
  }

  private arrange(): void {
    const shown = this.shown();
    const rows = shown.flatMap((symbol) => this.lines.get(symbol)?.row ?? []);
    if (rows.some((row, at) => this.body.children[at] !== row) || this.body.children.length !== rows.length) {
      const focused = document.activeElement;
      this.body.replaceChildren(...rows);
      if (focused instanceof HTMLElement && this.body.contains(focused)) focused.focus();
    }
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-sort]")) {
      const isSorted = button.dataset["sort"] === this.column;
      button.closest("th")?.setAttribute("aria-sort", isSorted ? (this.isDown ? "descending" : "ascending") : "none");
    }
  }

  private line(symbol: string): Line {
    const button = element("button", { text: symbol, class: "symbol" });
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => this.choose(symbol));
    const [price, change, fresh] = [element("td"), element("td"), element("td", { class: "fresh" })] as const;
    const head = element("th", {}, button);
    head.scope = "row";
    const row = element("tr", {}, head, price, change, fresh);
    row.dataset["symbol"] = symbol;
    row.dataset["freshness"] = "none";
    return { row, button, price, change, fresh };
  }
}
