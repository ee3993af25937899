/** The chart: candles with EMA, Bollinger, VWAP and volume, panes for MACD and RSI, and what trading did, as markers. */

import {
  CandlestickSeries, createChart, createSeriesMarkers, HistogramSeries, LineSeries, type IChartApi, type ISeriesApi,
  type ISeriesMarkersPluginApi, type SeriesMarker, type Time, type UTCTimestamp,
} from "lightweight-charts";
import { candlesOf, startOf, type Candle, type Interval } from "./candles";
import { dayOf, minutes, time } from "./format";
import type { Bar, Signal } from "./types";

export interface Mark {
  id: string;
  at: string;
  side: "buy" | "sell";
  kind: "decision" | "refusal" | "order" | "fill";
  text: string;
}

const LINES = {
  ema12: ["ema12", "#2f81f7", 0], ema26: ["ema26", "#bf6a02", 0], boll_upper: ["upper", "#8b949e", 0],
  boll_lower: ["lower", "#8b949e", 0], vwap_session: ["VWAP", "#a371f7", 0], macd: ["MACD", "#2f81f7", 1],
  macd_signal: ["signal", "#bf6a02", 1], rsi14: ["RSI 14", "#a371f7", 2],
} as const satisfies Record<string, readonly [string, string, number]>;
type LineName = keyof typeof LINES;
const UP = "#26a69a";
const DOWN = "#ef5350";

export class Chart {
  private readonly chart: IChartApi;
  private readonly candles: ISeriesApi<"Candlestick">;
  private readonly volume: ISeriesApi<"Histogram">;
  private readonly hist: ISeriesApi<"Histogram">;
  private readonly lines = new Map<LineName, ISeriesApi<"Line">>();
  private readonly markers: ISeriesMarkersPluginApi<Time>;
  private shown: Candle[] = [];

  constructor(private readonly holder: HTMLElement, onHover: (id: string | null, x: number, y: number) => void) {
    this.chart = createChart(holder, {
      autoSize: true,
      layout: { background: { color: "transparent" }, panes: { enableResize: true }, attributionLogo: false }, // the footer names and links them
      timeScale: {
        timeVisible: true, secondsVisible: true, rightOffset: 4,
        tickMarkFormatter: (at: Time, kind: number) => (kind < 3 ? dayOf(Number(at) * 1000) : kind === 4 ? time(Number(at) * 1000) : minutes(Number(at) * 1000)),
      },
      localization: { timeFormatter: (at: Time) => `${dayOf(Number(at) * 1000)} ${time(Number(at) * 1000)} New York` },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, { upColor: UP, downColor: DOWN, wickUpColor: UP, wickDownColor: DOWN, borderVisible: false });
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, color: "#8b949e66", priceLineVisible: false, lastValueVisible: false });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.hist = this.chart.addSeries(HistogramSeries, { priceLineVisible: false, lastValueVisible: false }, 1);
    for (const name of Object.keys(LINES) as LineName[]) {
      const [title, color, pane] = LINES[name];
      const dashed = name.startsWith("boll") ? 2 : 0;
      this.lines.set(name, this.chart.addSeries(LineSeries, { title: pane ? title : "", color, lineWidth: 1, lineStyle: dashed, priceLineVisible: false, lastValueVisible: pane > 0, crosshairMarkerVisible: false }, pane));
    }
    const rsi = this.lines.get("rsi14");
    for (const price of [30, 70]) rsi?.createPriceLine({ price, color: "#8b949e", lineWidth: 1, lineStyle: 2, axisLabelVisible: false, title: "" });
    this.chart.panes()[0]?.setStretchFactor(6);
    this.chart.panes()[1]?.setStretchFactor(1.5);
    this.chart.panes()[2]?.setStretchFactor(1.5);
    this.markers = createSeriesMarkers(this.candles, []);
    this.chart.subscribeCrosshairMove((moved) => {
      const id = typeof moved.hoveredObjectId === "string" ? moved.hoveredObjectId : null;
      onHover(id, moved.point?.x ?? 0, moved.point?.y ?? 0);
    });
    // What is drawn, for tests and consoles: the canvas itself cannot be read.
    Object.assign(holder, { drawn: () => ({ candles: this.candles.data(), rsi: rsi?.data(), macd: this.lines.get("macd")?.data(), markers: this.markers.markers() }) });
  }

  /** Colours that the page's theme decides. */
  paint(text: string, grid: string): void {
    this.chart.applyOptions({ layout: { textColor: text, panes: { separatorColor: grid } }, grid: { vertLines: { color: grid }, horzLines: { color: grid } }, rightPriceScale: { borderColor: grid }, timeScale: { borderColor: grid } });
  }

  /** Draw everything anew. `fit` shows the newest part as after a switch; else the eye stays where it was. */
  draw(bars: readonly Bar[], signals: readonly Signal[], interval: Interval, fit: boolean): void {
    this.shown = candlesOf(bars, interval);
    this.chart.applyOptions({ timeScale: { secondsVisible: interval.seconds < 60 } });
    this.candles.setData(this.shown.map(ohlc));
    this.volume.setData(this.shown.map((candle) => ({ time: candle.time as UTCTimestamp, value: candle.volume })));
    const last = new Map<number, Signal>();
    for (const signal of signals) last.set(startOf(signal.event_ts, interval), signal);
    const ordered = [...last].sort(([a], [b]) => a - b);
    for (const [name, series] of this.lines) series.setData(ordered.map(([at, signal]) => point(at, signal[name])));
    this.hist.setData(ordered.map(([at, signal]) => bar(at, signal.macd_hist)));
    if (fit) {
      this.chart.priceScale("right").applyOptions({ autoScale: true });
      this.chart.timeScale().setVisibleLogicalRange({ from: Math.max(-5, this.shown.length - 160), to: this.shown.length + 4 });
    }
  }

  /** Take one more bar; `bars` is everything that is known, in which it is already. */
  addBar(row: Bar, bars: readonly Bar[], interval: Interval): void {
    const start = startOf(row.event_ts, interval);
    const candle = candlesOf(bars.slice(-2 * Math.max(60, interval.seconds)), interval).find((each) => each.time === start);
    if (!candle) return;
    const isOlder = start < (this.shown.at(-1)?.time ?? 0);
    if (this.shown.at(-1)?.time === start) this.shown[this.shown.length - 1] = candle;
    else if (!isOlder) this.shown.push(candle);
    this.candles.update(ohlc(candle), isOlder);
    this.volume.update({ time: start as UTCTimestamp, value: candle.volume }, isOlder);
  }

  addSignal(row: Signal, interval: Interval): void {
    const start = startOf(row.event_ts, interval);
    const newest = Number(this.hist.data().at(-1)?.time ?? 0);
    for (const [name, series] of this.lines) series.update(point(start, row[name]), start < newest);
    this.hist.update(bar(start, row.macd_hist), start < newest);
  }

  mark(marks: readonly Mark[], interval: Interval): void {
    const first = this.shown[0]?.time ?? Infinity;
    const drawn: SeriesMarker<Time>[] = [];
    for (const each of marks) {
      const second = Math.floor(Date.parse(each.at) / 1000);
      const at = Math.floor(second / interval.seconds) * interval.seconds;
      if (at < first) continue;
      const isBuy = each.side === "buy";
      const shape = each.kind === "fill" ? (isBuy ? "arrowUp" : "arrowDown") : each.kind === "order" ? "square" : "circle";
      const color = each.kind === "refusal" ? "#8b949e" : isBuy ? UP : DOWN;
      drawn.push({ id: each.id, time: at as UTCTimestamp, position: isBuy ? "belowBar" : "aboveBar", shape, color, text: each.text });
    }
    drawn.sort((a, b) => Number(a.time) - Number(b.time));
    this.markers.setMarkers(drawn);
  }

  last(): Candle | undefined {
    return this.shown.at(-1);
  }

  describe(text: string): void {
    this.holder.setAttribute("aria-label", text);
  }
}

function ohlc(candle: Candle) {
  return { time: candle.time as UTCTimestamp, open: candle.open, high: candle.high, low: candle.low, close: candle.close };
}

function point(at: number, value: number | null) {
  return value === null ? { time: at as UTCTimestamp } : { time: at as UTCTimestamp, value };
}

function bar(at: number, value: number | null) {
  return value === null ? { time: at as UTCTimestamp } : { time: at as UTCTimestamp, value, color: value < 0 ? `${DOWN}88` : `${UP}88` };
}
