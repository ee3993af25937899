/** A backtest's report: equity and drawdown, what was held, and each symbol's candles with its fills. One file, no request. */

import { AreaSeries, CandlestickSeries, createChart, createSeriesMarkers, LineSeries, type IChartApi, type SeriesMarker, type Time, type UTCTimestamp } from "lightweight-charts";
import { dayOf, minutes, time } from "./format";

interface Fill { at: number; side: "buy" | "sell"; qty: string; price: number; leg: string }
interface Shown {
  equity: { at: number[]; value: number[]; exposure: number[] };
  symbols: Record<string, { at: number[]; o: number[]; h: number[]; l: number[]; c: number[]; fills: Fill[] }>;
}

const UP = "#26a69a";
const DOWN = "#ef5350";

function chartIn(holder: HTMLElement): IChartApi {
  const dim = getComputedStyle(document.body).getPropertyValue("--dim").trim();
  const line = getComputedStyle(document.body).getPropertyValue("--line").trim();
  return createChart(holder, {
    autoSize: true,
    layout: { background: { color: "transparent" }, textColor: dim, panes: { separatorColor: line }, attributionLogo: false }, // the footer names and links them
    grid: { vertLines: { color: line }, horzLines: { color: line } },
    timeScale: {
      timeVisible: true, secondsVisible: false,
      tickMarkFormatter: (at: Time, kind: number) => (kind < 3 ? dayOf(Number(at) * 1000) : minutes(Number(at) * 1000)),
    },
    localization: { timeFormatter: (at: Time) => `${dayOf(Number(at) * 1000)} ${time(Number(at) * 1000)} New York` },
  });
}

function drawEquity(shown: Shown, holder: HTMLElement): void {
  const chart = chartIn(holder);
  const at = shown.equity.at.map((seconds) => seconds as UTCTimestamp);
  const equity = chart.addSeries(LineSeries, { color: "#2f81f7", lineWidth: 2, title: "equity" });
  equity.setData(at.map((each, i) => ({ time: each, value: shown.equity.value[i] ?? 0 })));
  const drawdown = chart.addSeries(AreaSeries, { lineColor: DOWN, topColor: `${DOWN}22`, bottomColor: `${DOWN}66`, title: "drawdown %" }, 1);
  let peak = -Infinity;
  drawdown.setData(at.map((each, i) => {
    const value = shown.equity.value[i] ?? 0;
    peak = Math.max(peak, value);
    return { time: each, value: peak > 0 ? (value / peak - 1) * 100 : 0 };
  }));
  const exposure = chart.addSeries(AreaSeries, { lineColor: "#a371f7", topColor: "#a371f766", bottomColor: "#a371f711", title: "exposure %" }, 2);
  exposure.setData(at.map((each, i) => ({ time: each, value: (shown.equity.exposure[i] ?? 0) * 100 })));
  chart.panes()[0]?.setStretchFactor(3);
  chart.timeScale().fitContent();
}

function markerOf(fill: Fill): SeriesMarker<Time> {
  const isBuy = fill.side === "buy";
  return {
    time: (fill.at - (fill.at % 60)) as UTCTimestamp, position: isBuy ? "belowBar" : "aboveBar", shape: isBuy ? "arrowUp" : "arrowDown",
    color: isBuy ? UP : DOWN, text: `${fill.leg} ${fill.qty} @ ${fill.price}`,
  };
}

function drawSymbol(shown: Shown, symbol: string, holder: HTMLElement): void {
  holder.replaceChildren();
  const its = shown.symbols[symbol];
  if (!its) return;
  const chart = chartIn(holder);
  const candles = chart.addSeries(CandlestickSeries, { upColor: UP, downColor: DOWN, wickUpColor: UP, wickDownColor: DOWN, borderVisible: false });
  candles.setData(its.at.map((seconds, i) => ({ time: seconds as UTCTimestamp, open: its.o[i] ?? 0, high: its.h[i] ?? 0, low: its.l[i] ?? 0, close: its.c[i] ?? 0 })));
  createSeriesMarkers(candles, its.fills.map(markerOf));
  chart.timeScale().fitContent();
}

const data = document.getElementById("data");
const curve = document.getElementById("equity");
const market = document.getElementById("market");
const choice = document.getElementById("symbol") as HTMLSelectElement | null;
if (data && curve && market && choice) {
  const shown = JSON.parse(data.textContent ?? "{}") as Shown;
  drawEquity(shown, curve);
  for (const symbol of Object.keys(shown.symbols)) choice.add(new Option(symbol, symbol));
  choice.addEventListener("change", () => drawSymbol(shown, choice.value, market));
  drawSymbol(shown, choice.value, market);
}
