/** What the API answers, as far as the page reads it. */

export type WindowSize = "PT1S" | "PT1M";

export interface Bar {
  symbol: string;
  window_size: WindowSize;
  event_ts: string;
  ingest_ts: string;
  o: number;
  h: number;
  l: number;
  c: number;
  v: number;
  vwap: number | null;
}

export interface Signal {
  symbol: string;
  window_size: WindowSize;
  event_ts: string;
  ema12: number | null;
  ema26: number | null;
  macd: number | null;
  macd_signal: number | null;
  macd_hist: number | null;
  rsi14: number | null;
  boll_mid: number | null;
  boll_upper: number | null;
  boll_lower: number | null;
  vwap_session: number | null;
  imbalance_spread: number | null;
  warm: number;
}

export interface Decision {
  id: string;
  strategy_id: string;
  symbol: string;
  timeframe: string;
  status: string;
  rationale: string | null;
  risk_reasons: string | null;
  leg?: string | null;
  decision: Record<string, unknown> | null;
  created_at: string;
}

export interface Order {
  client_order_id: string;
  symbol: string;
  side: string;
  leg: string;
  qty: number;
  state: string;
  status: string | null;
  filled_qty: number | null;
  claimed_at: string;
}

export interface Execution {
  id: string;
  symbol: string;
  side: string;
  status: string;
  filled_qty: number;
  avg_fill_price: number | null;
  created_at: string;
  last_update_at: string | null;
}

export interface Position {
  symbol: string;
  qty: number;
  own_qty: number;
  market_value: number;
  avg_entry_price: number | null;
}

export interface Moment {
  serverTime: string;
  marketSession: string;
  /** What sets the day apart: the weekend, a holiday's name, an early close. */
  marketDay: string | null;
  isClockSimulated: boolean;
  storeTrouble: string | null;
}

export interface Verdict {
  known: boolean;
  error: string | null;
  classification?: string;
  topCause?: { component: string; reason: string; message: string; since: string | null } | null;
  nextProcedure?: { name: string; command: string | null; runbook: string | null } | null;
}

export interface Account {
  badge: string;
  equity: number | null;
  dayProfit: number | null;
  realised: number | null;
  cash: number | null;
  buyingPower: number | null;
}

export interface Headline extends Moment {
  verdict: Verdict;
  pipeline: { name: string; status: string }[];
  account: Account;
}

export interface SystemAnswer extends Headline {
  trading: { known: boolean; error: string | null; status: Record<string, unknown> | null };
  positions: Position[] | null;
  openOrders: Order[] | null;
  orders: Order[] | null;
  executions: Execution[] | null;
  decisions: Decision[] | null;
  equityCurve: { at: number; equity: number }[];
}
