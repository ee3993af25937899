-- A leg and, for exits, the holding it closes. Rows from before are entries.
ALTER TABLE trade_decisions ADD COLUMN leg varchar(8) NOT NULL DEFAULT 'entry' CHECK (leg IN ('entry', 'exit'));
ALTER TABLE trade_decisions ADD COLUMN cause varchar(16) NOT NULL DEFAULT 'signal';
ALTER TABLE strategies ADD COLUMN max_notional_total numeric(20, 8);
ALTER TABLE strategies ADD COLUMN order_type varchar(16) NOT NULL DEFAULT 'market';
ALTER TABLE strategies ADD COLUMN price_offset_bps numeric(20, 8) NOT NULL DEFAULT 0;
ALTER TABLE strategies ADD COLUMN stop_loss_pct numeric(20, 8);
ALTER TABLE strategies ADD COLUMN take_profit_pct numeric(20, 8);
ALTER TABLE strategies ADD COLUMN trailing_stop_pct numeric(20, 8);

ALTER TABLE order_claims ADD COLUMN leg varchar(8) NOT NULL DEFAULT 'entry';
ALTER TABLE order_claims ADD COLUMN price numeric(20, 8);
ALTER TABLE order_claims ADD COLUMN strategy_id uuid REFERENCES strategies (id);
UPDATE order_claims c SET strategy_id = d.strategy_id FROM trade_decisions d WHERE d.id = c.trade_decision_id;
ALTER TABLE order_claims DROP CONSTRAINT order_claims_state_check;
ALTER TABLE order_claims ADD CONSTRAINT order_claims_state_check
    CHECK (state IN ('claimed', 'unknown', 'accepted', 'rejected', 'never_arrived', 'arrived_late'));
CREATE INDEX order_claims_given_up ON order_claims (alpaca_account_label, settled_at)
    WHERE state IN ('never_arrived', 'arrived_late');

-- What anyone said of an order, in the order it was heard. Never changed; everything else about orders is folded from it.
CREATE TABLE order_events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alpaca_account_label varchar(64) NOT NULL,
    trade_decision_id uuid REFERENCES trade_decisions (id),
    strategy_id uuid REFERENCES strategies (id),
    alpaca_order_id varchar(128) NOT NULL,
    client_order_id varchar(128) NOT NULL,
    symbol varchar(32) NOT NULL,
    side varchar(8) NOT NULL,
    source varchar(16) NOT NULL CHECK (source IN ('submit', 'poll', 'stream', 'found', 'cancel', 'foreign')),
    status varchar(32) NOT NULL,
    qty numeric(30, 9) NOT NULL,
    filled_qty numeric(30, 9) NOT NULL,
    avg_fill_price numeric(30, 12),
    broker_updated_at timestamptz,
    heard_at timestamptz NOT NULL,
    -- The same reading, from whichever source, is one event.
    fingerprint char(64) NOT NULL UNIQUE,
    raw jsonb NOT NULL
);
CREATE INDEX order_events_by_order ON order_events (alpaca_order_id, seq);
CREATE INDEX order_events_by_account ON order_events (alpaca_account_label, seq);
CREATE FUNCTION order_events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'order_events is append-only';
END $$;
CREATE TRIGGER order_events_append_only BEFORE UPDATE OR DELETE ON order_events
    FOR EACH ROW EXECUTE FUNCTION order_events_are_append_only();
-- Orders from before this version: their last known state is the first event.
INSERT INTO order_events (alpaca_account_label, trade_decision_id, strategy_id, alpaca_order_id, client_order_id, symbol,
    side, source, status, qty, filled_qty, avg_fill_price, heard_at, fingerprint, raw)
SELECT e.alpaca_account_label, e.trade_decision_id, d.strategy_id, e.alpaca_order_id, e.client_order_id, e.symbol, e.side,
    'poll', e.status, e.submitted_qty, e.filled_qty, e.avg_fill_price, e.updated_at,
    encode(sha256(convert_to('0002:' || e.alpaca_order_id, 'UTF8')), 'hex'), e.raw_order
FROM executions e LEFT JOIN trade_decisions d ON d.id = e.trade_decision_id ORDER BY e.updated_at;

ALTER TABLE executions ADD COLUMN strategy_id uuid REFERENCES strategies (id);
ALTER TABLE executions ADD COLUMN broker_updated_at timestamptz;
ALTER TABLE executions ADD COLUMN is_missing boolean NOT NULL DEFAULT false;
UPDATE executions e SET strategy_id = d.strategy_id FROM trade_decisions d WHERE d.id = e.trade_decision_id;
ALTER TABLE executions ALTER COLUMN submitted_qty TYPE numeric(30, 9);
ALTER TABLE executions ALTER COLUMN filled_qty TYPE numeric(30, 9);
ALTER TABLE executions ALTER COLUMN avg_fill_price TYPE numeric(30, 12);
CREATE INDEX executions_by_strategy ON executions (alpaca_account_label, strategy_id, symbol) WHERE filled_qty > 0;

-- One stay in a symbol, from flat to flat.
CREATE TABLE trading_holdings (
    alpaca_account_label varchar(64) NOT NULL,
    symbol varchar(32) NOT NULL,
    number bigint NOT NULL,
    is_long boolean NOT NULL,
    opened_at timestamptz NOT NULL,
    best_price numeric(20, 8) NOT NULL,
    closed_at timestamptz,
    PRIMARY KEY (alpaca_account_label, symbol, number)
);
CREATE UNIQUE INDEX trading_holdings_open ON trading_holdings (alpaca_account_label, symbol) WHERE closed_at IS NULL;

-- A strategy's wish to be out of a holding: it stands until the strategy's part is flat.
CREATE TABLE trading_exits (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    alpaca_account_label varchar(64) NOT NULL,
    symbol varchar(32) NOT NULL,
    holding_number bigint NOT NULL,
    strategy_id uuid NOT NULL REFERENCES strategies (id),
    cause varchar(16) NOT NULL,
    signal_ts timestamptz,
    timeframe varchar(16) NOT NULL,
    rationale text,
    attempts integer NOT NULL DEFAULT 0,
    last_decision_id uuid REFERENCES trade_decisions (id),
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    FOREIGN KEY (alpaca_account_label, symbol, holding_number)
        REFERENCES trading_holdings (alpaca_account_label, symbol, number)
);
CREATE UNIQUE INDEX trading_exits_open ON trading_exits (alpaca_account_label, symbol, holding_number, strategy_id)
    WHERE closed_at IS NULL;

-- Revisions and stops share one counter, so that "first seen after the stop" asks no clock.
CREATE SEQUENCE trading_history;
CREATE TABLE trading_revisions (
    alpaca_account_label varchar(64) NOT NULL,
    revision varchar(253) NOT NULL,
    first_seen bigint NOT NULL DEFAULT nextval('trading_history'),
    first_seen_at timestamptz NOT NULL,
    PRIMARY KEY (alpaca_account_label, revision)
);
CREATE TABLE trading_stops (
    recorded bigint PRIMARY KEY DEFAULT nextval('trading_history'),
    alpaca_account_label varchar(64) NOT NULL,
    since timestamptz NOT NULL,
    recorded_by varchar(253) NOT NULL,
    why varchar(32) NOT NULL,
    lifted_at timestamptz,
    lifted_by varchar(253)
);
CREATE INDEX trading_stops_standing ON trading_stops (alpaca_account_label) WHERE lifted_at IS NULL;

-- The switches a person turns: the newest row of a kind holds.
CREATE TABLE trading_switches (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alpaca_account_label varchar(64) NOT NULL,
    name varchar(32) NOT NULL CHECK (name IN ('kill_switch')),
    is_on boolean NOT NULL,
    at timestamptz NOT NULL,
    actor varchar(255) NOT NULL,
    reason text NOT NULL
);
CREATE TABLE trading_loss_latches (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alpaca_account_label varchar(64) NOT NULL,
    loss_limit varchar(16) NOT NULL,
    equity numeric(20, 8) NOT NULL,
    mark numeric(20, 8) NOT NULL,
    since timestamptz NOT NULL,
    resumed_at timestamptz,
    resumed_by varchar(255),
    reason text
);
CREATE UNIQUE INDEX trading_loss_latches_standing ON trading_loss_latches (alpaca_account_label)
    WHERE resumed_at IS NULL;
CREATE TABLE trading_equity_marks (
    alpaca_account_label varchar(64) PRIMARY KEY,
    day date NOT NULL,
    day_equity numeric(20, 8) NOT NULL,
    peak_equity numeric(20, 8) NOT NULL
);

-- The one broker account whose orders this database keeps.
CREATE TABLE trading_account (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    alpaca_account_label varchar(64) NOT NULL,
    account_number varchar(64) NOT NULL,
    bound_at timestamptz NOT NULL
);

-- A leader's sign of life: a count, judged by the clock of whoever watches.
ALTER TABLE trading_leadership ADD COLUMN beats bigint NOT NULL DEFAULT 0;
ALTER TABLE trading_leadership ADD COLUMN holder varchar(253) NOT NULL DEFAULT '';

-- What the trading process says of itself, for API processes without a loop.
CREATE TABLE trading_status (
    alpaca_account_label varchar(64) PRIMARY KEY,
    epoch bigint NOT NULL,
    beats bigint NOT NULL,
    body jsonb NOT NULL,
    at timestamptz NOT NULL
);

CREATE TABLE trading_alerts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    alpaca_account_label varchar(64) NOT NULL,
    name varchar(32) NOT NULL,
    dedup_key varchar(255) NOT NULL,
    body jsonb NOT NULL,
    at timestamptz NOT NULL,
    delivered_at timestamptz,
    UNIQUE (alpaca_account_label, dedup_key)
);
