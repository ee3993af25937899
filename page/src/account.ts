/** Account, positions, open orders and the curve of equity. */

import { byId, element, number, signed, time } from "./format";
import type { Account, SystemAnswer } from "./types";

export function showAccount(account: Account): void {
  const badge = byId("badge");
  badge.textContent = account.badge === "not known" ? "ACCOUNT NOT KNOWN" : account.badge;
  badge.dataset["mode"] = account.badge;
  byId("equity").textContent = number(account.equity);
  const day = byId("day-profit");
  day.textContent = signed(account.dayProfit);
  day.className = tone(account.dayProfit);
  const realised = byId("realised");
  realised.textContent = signed(account.realised);
  realised.className = tone(account.realised);
}

function tone(value: number | null): string {
  return value === null || value === 0 ? "" : value > 0 ? "up" : "down";
}

export function showHoldings(answer: SystemAnswer): void {
  table(
    "positions",
    answer.positions?.map((each) => {
      const open = each.avg_entry_price === null || each.qty === 0 ? null : each.market_value - each.avg_entry_price * each.qty;
      return [each.symbol, String(each.qty), number(each.avg_entry_price), number(each.market_value), signed(open)];
    }),
  );
  table(
    "orders",
    answer.openOrders?.map((each) => [time(each.claimed_at), each.symbol, `${each.side} ${each.qty}`, each.leg, each.status ?? each.state]),
  );
  showCurve(answer.equityCurve);
}

function table(id: string, rows: string[][] | undefined): void {
  byId(id).replaceChildren(...(rows ?? []).map((cells) => element("tr", {}, ...cells.map((text) => element("td", { text })))));
  const empty = byId(`${id}-empty`);
  empty.hidden = Boolean(rows?.length);
  empty.textContent = rows ? "none" : "not known: trading did not answer";
}

function showCurve(points: SystemAnswer["equityCurve"]): void {
  const line = document.getElementById("curve-line");
  const first = points[0];
  const last = points.at(-1);
  byId("curve-empty").hidden = points.length > 1;
  byId("curve").toggleAttribute("hidden", points.length < 2);
  if (!line || !first || !last || points.length < 2) return;
  const values = points.map((each) => each.equity);
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  const width = last.at - first.at || 1;
  line.setAttribute("points", points.map((each) => `${(100 * (each.at - first.at)) / width},${38 - (36 * (each.equity - low)) / span}`).join(" "));
  byId("curve").setAttribute("aria-label", `equity from ${number(first.equity)} to ${number(last.equity)}`);
}
