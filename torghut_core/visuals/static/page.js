"use strict";
const number = (value, digits) => (value === null || value === undefined ? "" : value.toFixed(digits));

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

function cell(row, text) {
  const made = document.createElement("td");
  made.textContent = text;
  row.append(made);
  return made;
}

function sparkline(closes) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", "0 0 100 24");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", closes.length ? `close from ${closes[0]} to ${closes[closes.length - 1]}` : "no bars");
  if (closes.length > 1) {
    const low = Math.min(...closes), span = Math.max(...closes) - low || 1;
    const line = document.createElementNS(space, "polyline");
    line.setAttribute("points", closes.map((c, i) => `${(100 * i) / (closes.length - 1)},${22 - (20 * (c - low)) / span}`).join(" "));
    picture.append(line);
  }
  return picture;
}

async function refresh() {
  const state = document.getElementById("state");
  try {
    const { symbols } = await get("/api/torghut/symbols");
    const found = await Promise.all(symbols.map(async (symbol) => {
      const query = encodeURIComponent(symbol);
      const [latest, bars] = await Promise.all([
        get(`/api/torghut/ta/latest?symbol=${query}`), get(`/api/torghut/ta/bars?symbol=${query}&limit=300`)]);
      return { symbol, latest, closes: bars.items.filter((bar) => bar.window_size === "PT1S").map((bar) => bar.c) };
    }));
    const rows = found.map(({ symbol, latest, closes }) => {
      const row = document.createElement("tr"), bar = latest.bars, signal = latest.signals;
      cell(row, symbol);
      cell(row, bar ? bar.event_ts.slice(11, 19) : "");
      cell(row, bar ? number(bar.c, 2) : "");
      cell(row, bar ? number(bar.v, 0) : "");
      cell(row, signal ? number(signal.rsi14, 1) : "");
      cell(row, signal ? number(signal.macd, 4) : "");
      cell(row, signal ? number(signal.vwap_w5m, 2) : "");
      cell(row, signal ? number(signal.imbalance_spread, 3) : "");
      cell(row, "").append(sparkline(closes));
      return row;
    });
    document.getElementById("rows").replaceChildren(...rows);
    state.textContent = symbols.length ? `updated ${new Date().toISOString().slice(11, 19)} UTC` : "no symbols yet";
  } catch (error) {
    state.textContent = `not updated: ${error.message}`;
  }
  setTimeout(refresh, 2000);
}

refresh();
