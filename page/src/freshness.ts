/** How fresh a symbol is: its age on the server's clock, and whether the session should bring data at all. */

export type Freshness = "fresh" | "late" | "stale" | "closed" | "none";

/** Seconds after which a window's newest bar counts as late, and as stale. */
const LIMITS: Record<string, [number, number]> = { PT1S: [30, 300], PT1M: [150, 420] };

export function freshness(eventMs: number | null, nowMs: number, session: string, window: string): Freshness {
  if (eventMs === null) return "none";
  if (session === "closed") return "closed";
  const seconds = (nowMs - eventMs) / 1000;
  const [late, stale] = LIMITS[window] ?? [30, 300];
  if (seconds > stale) return "stale";
  return seconds > late ? "late" : "fresh";
}
