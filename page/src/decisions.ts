/** What trading decided and why, or why not: a list with a filter, and the marks for the chart. */

import type { Mark } from "./chart";
import { byId, element, time, UNKNOWN } from "./format";
import type { Decision, Execution, Order, SystemAnswer } from "./types";

const REFUSED = new Set(["rejected", "refused", "vetoed"]);

export function isRefused(decision: Decision): boolean {
  return REFUSED.has(decision.status) || Boolean(decision.risk_reasons);
}

export function sideOf(decision: Decision): "buy" | "sell" {
  return decision.decision?.["action"] === "sell" ? "sell" : "buy";
}

export function reasonsOf(decision: Decision): string {
  const why = (decision.risk_reasons ?? "").split(";").filter(Boolean).join(", ");
  const because = (decision.rationale ?? "").split(",").filter(Boolean).join(", ");
  if (why) return `why not: ${why}${because ? ` (signal: ${because})` : ""}`;
  return because ? `because: ${because}` : UNKNOWN;
}

export class Decisions {
  private all: Decision[] | null = null;
  private symbol = "";
  private readonly list = byId("decisions") as HTMLTableSectionElement;
  private readonly why = byId("decisions-filter") as HTMLSelectElement;
  private readonly own = byId("decisions-own") as HTMLInputElement;

  constructor() {
    this.why.addEventListener("change", () => this.show());
    this.own.addEventListener("change", () => this.show());
  }

  set(decisions: Decision[] | null, symbol: string): void {
    this.all = decisions;
    this.symbol = symbol;
    this.show();
  }

  take(decision: Decision): void {
    this.all = [decision, ...(this.all ?? []).filter((each) => each.id !== decision.id)].slice(0, 200);
    this.show();
  }

  get known(): readonly Decision[] {
    return this.all ?? [];
  }

  private show(): void {
    const wanted = this.why.value;
    const found = this.known.filter(
      (each) => (!this.own.checked || each.symbol === this.symbol) && (wanted === "all" || isRefused(each) === (wanted === "refused")),
    );
    const empty = byId("decisions-empty");
    empty.hidden = found.length > 0;
    empty.textContent = this.all === null ? "not known: trading did not answer" : "none";
    this.list.replaceChildren(
      ...found.slice(0, 100).map((each) => {
        const qty = each.decision?.["qty"];
        const row = element(
          "tr", {},
          element("td", { text: time(each.created_at) }),
          element("td", { text: each.symbol }),
          element("td", { text: `${sideOf(each)} ${typeof qty === "string" ? qty : ""} ${each.leg ?? ""}` }),
          element("td", { text: each.status, class: isRefused(each) ? "refused" : "" }),
          element("td", { text: reasonsOf(each), class: "reasons" }),
        );
        row.dataset["id"] = each.id;
        return row;
      }),
    );
  }
}

/** Return the marks of one symbol: decisions at their signal's time, orders and fills at theirs. */
export function marksOf(answer: SystemAnswer | null, decisions: readonly Decision[], symbol: string): Mark[] {
  const marks: Mark[] = [];
  for (const each of decisions) {
    if (each.symbol !== symbol) continue;
    const at = each.decision?.["event_ts"];
    marks.push({ id: `d:${each.id}`, at: typeof at === "string" ? at : each.created_at, side: sideOf(each), kind: isRefused(each) ? "refusal" : "decision", text: isRefused(each) ? "✕" : "" });
  }
  for (const each of answer?.orders ?? []) if (each.symbol === symbol) marks.push(orderMark(each));
  for (const each of answer?.executions ?? []) if (each.symbol === symbol && each.filled_qty > 0) marks.push(fillMark(each));
  return marks;
}

function orderMark(order: Order): Mark {
  return { id: `o:${order.client_order_id}`, at: order.claimed_at, side: order.side === "sell" ? "sell" : "buy", kind: "order", text: "" };
}

function fillMark(fill: Execution): Mark {
  return { id: `f:${fill.id}`, at: fill.last_update_at ?? fill.created_at, side: fill.side === "sell" ? "sell" : "buy", kind: "fill", text: String(fill.filled_qty) };
}

/** Return what a mark says when the pointer is on it. */
export function sayMark(id: string, answer: SystemAnswer | null, decisions: readonly Decision[]): string {
  const key = id.slice(2);
  if (id.startsWith("d:")) {
    const found = decisions.find((each) => each.id === key);
    return found ? `${time(found.created_at)} ${sideOf(found)} ${found.symbol}: ${found.status}; ${reasonsOf(found)}` : "";
  }
  if (id.startsWith("o:")) {
    const found = answer?.orders?.find((each) => each.client_order_id === key);
    return found ? `${time(found.claimed_at)} order: ${found.side} ${found.qty} ${found.symbol} (${found.leg}), ${found.status ?? found.state}` : "";
  }
  const found = answer?.executions?.find((each) => each.id === key);
  return found ? `${time(found.created_at)} fill: ${found.side} ${found.filled_qty} ${found.symbol} at ${found.avg_fill_price ?? UNKNOWN}` : "";
}
