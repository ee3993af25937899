CREATE TABLE strategies (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name varchar(255) NOT NULL UNIQUE,
    description text,
    rule varchar(64) NOT NULL,
    parameters jsonb NOT NULL DEFAULT '{}',
    enabled boolean NOT NULL,
    base_timeframe varchar(16) NOT NULL,
    universe_type varchar(64) NOT NULL,
    universe_symbols jsonb NOT NULL DEFAULT '[]',
    max_position_pct_equity numeric(20, 8),
    max_notional_per_trade numeric(20, 8),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE trade_decisions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    strategy_id uuid NOT NULL REFERENCES strategies (id),
    alpaca_account_label varchar(64) NOT NULL,
    symbol varchar(32) NOT NULL,
    timeframe varchar(16) NOT NULL,
    signal_ts timestamptz NOT NULL,
    side varchar(8) NOT NULL,
    decision_hash char(64) NOT NULL UNIQUE,
    decision_json jsonb NOT NULL,
    rationale text,
    status varchar(32) NOT NULL DEFAULT 'planned',
    risk_reasons text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    executed_at timestamptz
);
CREATE INDEX trade_decisions_newest ON trade_decisions (created_at DESC, id);
CREATE INDEX trade_decisions_by_symbol ON trade_decisions (symbol, created_at DESC);
CREATE INDEX trade_decisions_planned ON trade_decisions (created_at) WHERE status = 'planned';
CREATE INDEX trade_decisions_cooldown ON trade_decisions (strategy_id, symbol, executed_at DESC);

-- Written on the connection that holds the leader's lock, before the broker is called. Its existence is the permission
-- to call once; it is never written twice for a decision.
CREATE TABLE order_claims (
    trade_decision_id uuid PRIMARY KEY REFERENCES trade_decisions (id),
    client_order_id char(64) NOT NULL UNIQUE,
    alpaca_account_label varchar(64) NOT NULL,
    symbol varchar(32) NOT NULL,
    side varchar(8) NOT NULL,
    qty numeric(20, 8) NOT NULL,
    reserved_notional numeric(20, 8) NOT NULL,
    epoch bigint NOT NULL,
    state varchar(16) NOT NULL DEFAULT 'claimed'
        CHECK (state IN ('claimed', 'unknown', 'accepted', 'rejected', 'never_arrived')),
    absent_readings integer NOT NULL DEFAULT 0,
    first_absent_at timestamptz,
    claimed_at timestamptz NOT NULL,
    settled_at timestamptz
);
CREATE INDEX order_claims_open ON order_claims (alpaca_account_label) WHERE state IN ('claimed', 'unknown');

CREATE TABLE executions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    trade_decision_id uuid REFERENCES trade_decisions (id) ON DELETE SET NULL,
    alpaca_account_label varchar(64) NOT NULL,
    alpaca_order_id varchar(128) NOT NULL UNIQUE,
    client_order_id varchar(128) NOT NULL UNIQUE,
    symbol varchar(32) NOT NULL,
    side varchar(8) NOT NULL,
    order_type varchar(32) NOT NULL,
    time_in_force varchar(16) NOT NULL,
    submitted_qty numeric(20, 8) NOT NULL,
    filled_qty numeric(20, 8) NOT NULL DEFAULT 0,
    avg_fill_price numeric(20, 8),
    status varchar(32) NOT NULL,
    raw_order jsonb NOT NULL,
    last_update_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX executions_newest ON executions (created_at DESC, id);
CREATE INDEX executions_by_symbol ON executions (symbol, created_at DESC);
CREATE INDEX executions_open ON executions (alpaca_account_label)
    WHERE status NOT IN ('filled', 'canceled', 'expired', 'rejected', 'replaced');

CREATE TABLE trade_cursor (
    source varchar(64) NOT NULL,
    alpaca_account_label varchar(64) NOT NULL,
    cursor_at timestamptz NOT NULL,
    cursor_seq bigint,
    cursor_symbol varchar(32),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (source, alpaca_account_label)
);

-- One row per lock; the epoch rises with each leader and fences the one before.
CREATE TABLE trading_leadership (
    lock_name varchar(255) PRIMARY KEY,
    epoch bigint NOT NULL,
    acquired_at timestamptz NOT NULL
);

CREATE TABLE llm_decision_reviews (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    trade_decision_id uuid NOT NULL REFERENCES trade_decisions (id),
    model varchar(128) NOT NULL,
    prompt_version varchar(32) NOT NULL,
    input_json jsonb NOT NULL,
    response_json jsonb NOT NULL,
    verdict varchar(16) NOT NULL,
    effective_verdict varchar(16) NOT NULL,
    is_shadow boolean NOT NULL,
    confidence numeric(6, 4),
    adjusted_qty numeric(20, 8),
    rationale text,
    risk_flags jsonb,
    tokens_prompt integer,
    tokens_completion integer,
    created_at timestamptz NOT NULL
);
CREATE INDEX llm_decision_reviews_by_decision ON llm_decision_reviews (trade_decision_id);
CREATE INDEX llm_decision_reviews_newest ON llm_decision_reviews (created_at DESC);
