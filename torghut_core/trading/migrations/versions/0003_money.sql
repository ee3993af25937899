-- What an account's reading said of strategies' shares that no order of ours explains: sold elsewhere, or split.
-- Never changed; folded with the order events, after the one of place after_seq.
CREATE TABLE ownership_corrections (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alpaca_account_label varchar(64) NOT NULL,
    after_seq bigint NOT NULL,
    strategy_id uuid NOT NULL REFERENCES strategies (id),
    symbol varchar(32) NOT NULL,
    kind varchar(16) NOT NULL CHECK (kind IN ('handed_over', 'split')),
    qty numeric(30, 9) NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX ownership_corrections_by_account ON ownership_corrections (alpaca_account_label, id);
CREATE FUNCTION rows_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only';
END $$;
CREATE TRIGGER ownership_corrections_append_only BEFORE UPDATE OR DELETE ON ownership_corrections
    FOR EACH ROW EXECUTE FUNCTION rows_are_append_only();
CREATE INDEX order_events_fills ON order_events (alpaca_account_label, seq) WHERE filled_qty > 0;

-- What the account held of a symbol when nothing was on its way: the next such reading is compared with it.
CREATE TABLE position_readings (
    alpaca_account_label varchar(64) NOT NULL,
    symbol varchar(32) NOT NULL,
    qty numeric(30, 9) NOT NULL,
    entry_price numeric(30, 12) NOT NULL,
    after_seq bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (alpaca_account_label, symbol)
);

-- What the AI review spent in a New York day; counted before the answer is used, so that a crash forgets nothing.
CREATE TABLE llm_spending (
    alpaca_account_label varchar(64) NOT NULL,
    day date NOT NULL,
    requests integer NOT NULL DEFAULT 0,
    tokens_prompt bigint NOT NULL DEFAULT 0,
    tokens_completion bigint NOT NULL DEFAULT 0,
    dollars numeric(20, 8) NOT NULL DEFAULT 0,
    PRIMARY KEY (alpaca_account_label, day)
);
