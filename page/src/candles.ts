/** Candles of any interval from the bars of its base window. */

import type { Bar, WindowSize } from "./types";

export interface Interval {
  name: string;
  base: WindowSize;
  seconds: number;
  /** How far back the first look reaches, in seconds of the base window. */
  reach: number;
}

export const INTERVALS: readonly Interval[] = [
  { name: "1s", base: "PT1S", seconds: 1, reach: 1_800 },
  { name: "15s", base: "PT1S", seconds: 15, reach: 5_000 },
  { name: "1m", base: "PT1M", seconds: 60, reach: 24 * 3600 },
  { name: "5m", base: "PT1M", seconds: 300, reach: 4 * 86_400 },
  { name: "15m", base: "PT1M", seconds: 900, reach: 6.9 * 86_400 },
  { name: "1h", base: "PT1M", seconds: 3600, reach: 6.9 * 86_400 },
];

export interface Candle {
  /** Epoch seconds of the start. */
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
}

export const BASE_SECONDS: Record<WindowSize, number> = { PT1S: 1, PT1M: 60 };

/** Epoch seconds of the start of the interval that a row of the base window, which carries its end, falls into. */
export function startOf(eventTs: string, interval: Interval): number {
  const start = Math.round(Date.parse(eventTs) / 1000) - BASE_SECONDS[interval.base];
  return Math.floor(start / interval.seconds) * interval.seconds;
}

/** Bars must ascend; one candle per interval that has a bar. */
export function candlesOf(bars: readonly Bar[], interval: Interval): Candle[] {
  const found: Candle[] = [];
  for (const bar of bars) {
    const time = startOf(bar.event_ts, interval);
    const last = found.at(-1);
    if (last && last.time === time) {
      last.high = Math.max(last.high, bar.h);
      last.low = Math.min(last.low, bar.l);
      last.close = bar.c;
      last.volume += bar.v;
    } else {
      found.push({ time, open: bar.o, high: bar.h, low: bar.l, close: bar.c, volume: bar.v });
    }
  }
  return found;
}

/** Rows by event time, each replaced by a later word on the same instant; kept ascending and bounded. */
export class Rows<T extends { event_ts: string }> {
  private rows: T[] = [];

  constructor(private readonly most = 6_000) {}

  set(rows: readonly T[]): void {
    this.rows = [...rows];
  }

  put(row: T): void {
    let at = this.rows.length;
    while (at > 0 && (this.rows[at - 1] as T).event_ts > row.event_ts) at -= 1;
    if (at > 0 && (this.rows[at - 1] as T).event_ts === row.event_ts) this.rows[at - 1] = row;
    else this.rows.splice(at, 0, row);
    if (this.rows.length > this.most) this.rows.shift();
  }

  get all(): readonly T[] {
    return this.rows;
  }
}
