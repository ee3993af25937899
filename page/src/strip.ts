/** The strip: what the health report says, part by part, with the cause and the next command. */

import { byId, element } from "./format";
import type { Headline } from "./types";

const TONES: Record<string, string> = { healthy: "good", answers: "good", on: "good", shadow: "good", degraded: "warn", "circuit open": "warn", down: "bad", "no answer": "bad" };

export function showStrip(headline: Headline): void {
  const { verdict } = headline;
  const word = verdict.known ? (verdict.classification ?? "unknown") : "not known";
  const whole = byId("verdict");
  whole.textContent = word;
  whole.dataset["tone"] = TONES[word] ?? "none";
  byId("pipeline").replaceChildren(
    ...headline.pipeline.map((part) => {
      const item = element("li", {}, element("span", { text: part.name, class: "part" }), element("span", { text: part.status, class: "word" }));
      item.dataset["tone"] = TONES[part.status] ?? "none";
      item.dataset["part"] = part.name;
      return item;
    }),
  );
  const cause = byId("cause");
  const found = verdict.topCause;
  const next = verdict.nextProcedure;
  const step = next ? (next.command ?? `runbook ${next.name}: torghutctl runbook ${next.name}`) : "";
  cause.hidden = !found && verdict.known;
  byId("cause-text").textContent = found ? `${found.component}: ${found.message} (${found.reason})` : (verdict.error ?? "");
  byId("cause-next").textContent = step;
}

/** Say that nothing of the strip is current: a page whose server is gone knows nothing. */
export function showLost(why: string): void {
  const whole = byId("verdict");
  whole.textContent = "not known";
  whole.dataset["tone"] = "none";
  for (const item of byId("pipeline").children) {
    (item as HTMLElement).dataset["tone"] = "none";
    const word = item.querySelector(".word");
    if (word) word.textContent = "not known";
  }
  byId("cause").hidden = false;
  byId("cause-text").textContent = why;
  byId("cause-next").textContent = "";
}
