-- The authoritative TA store. Placeholders: {engine} is ReplacingMergeTree(ingest_ts), or its Replicated form on a
-- cluster; {on_cluster} is empty or ON CLUSTER; {ttl_microbars} and {ttl_signals} are empty on a simulated clock, where
-- recorded data would vanish in the first merge.
CREATE DATABASE IF NOT EXISTS torghut{on_cluster};

CREATE TABLE IF NOT EXISTS torghut.ta_microbars{on_cluster} (
    symbol LowCardinality(String),
    event_ts DateTime64(3, 'UTC'),
    seq UInt64,
    ingest_ts DateTime64(3, 'UTC'),
    is_final UInt8,
    source LowCardinality(String),
    window_size LowCardinality(String),
    window_step Nullable(String),
    window_start Nullable(DateTime64(3, 'UTC')),
    window_end Nullable(DateTime64(3, 'UTC')),
    version UInt32,
    o Float64,
    h Float64,
    l Float64,
    c Float64,
    v Float64,
    vwap Nullable(Float64),
    count UInt64
) ENGINE = {engine}
PARTITION BY toDate(event_ts)
ORDER BY (symbol, window_size, event_ts){ttl_microbars};

CREATE TABLE IF NOT EXISTS torghut.ta_signals{on_cluster} (
    symbol LowCardinality(String),
    event_ts DateTime64(3, 'UTC'),
    seq UInt64,
    ingest_ts DateTime64(3, 'UTC'),
    is_final UInt8,
    source LowCardinality(String),
    window_size LowCardinality(String),
    window_step Nullable(String),
    window_start Nullable(DateTime64(3, 'UTC')),
    window_end Nullable(DateTime64(3, 'UTC')),
    version UInt32,
    macd Nullable(Float64),
    macd_signal Nullable(Float64),
    macd_hist Nullable(Float64),
    ema12 Nullable(Float64),
    ema26 Nullable(Float64),
    rsi14 Nullable(Float64),
    boll_mid Nullable(Float64),
    boll_upper Nullable(Float64),
    boll_lower Nullable(Float64),
    vwap_session Nullable(Float64),
    vwap_w5m Nullable(Float64),
    imbalance_spread Nullable(Float64),
    imbalance_bid_px Nullable(Float64),
    imbalance_ask_px Nullable(Float64),
    imbalance_bid_sz Nullable(Float64),
    imbalance_ask_sz Nullable(Float64),
    imbalance_ratio Nullable(Float64),
    vol_realized_w60s Nullable(Float64),
    close Float64,
    warm UInt8
) ENGINE = {engine}
PARTITION BY toDate(event_ts)
ORDER BY (symbol, window_size, event_ts){ttl_signals};
