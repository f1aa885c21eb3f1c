-- Bars, one row each; timestamp is the bar's label (its start; 00:00 UTC of the trade date for days and longer).
-- timeframe_unit: 1 second, 2 minute, 3 hour, 4 day, 5 week, 6 month. Prices in points, volume in contracts.
-- ends_at: when the interval ended by the session calendar. whole: the whole interval was observed.
CREATE TABLE ohlc_bars (
    contract_id     text NOT NULL,
    timestamp       timestamptz NOT NULL,
    timeframe_unit  integer NOT NULL CHECK (timeframe_unit BETWEEN 1 AND 6),
    timeframe_value integer NOT NULL CHECK (timeframe_value > 0),
    open            double precision NOT NULL,
    high            double precision NOT NULL,
    low             double precision NOT NULL,
    close           double precision NOT NULL,
    volume          bigint NOT NULL CHECK (volume >= 0),
    ends_at         timestamptz NOT NULL,
    whole           boolean NOT NULL DEFAULT true,
    -- Here NaN counts as more than infinity, so that the last comparison keeps out both.
    CHECK (low > 0 AND low <= least(open, close) AND high >= greatest(open, close) AND high < 'infinity'),
    -- The time column comes last, so that one index serves the key and the reading of one series in order.
    CONSTRAINT ohlc_bars_unique UNIQUE (contract_id, timeframe_unit, timeframe_value, timestamp)
);

-- What analyzers found. timestamp and signal_price belong to the marked bar.
CREATE TABLE detected_signals (
    signal_id    serial PRIMARY KEY,
    timestamp    timestamptz NOT NULL,
    contract_id  text NOT NULL,
    timeframe    text NOT NULL,
    signal_type  text NOT NULL,
    signal_price real,
    details      jsonb
);

-- How far each analyzer has got.
CREATE TABLE analyzer_watermarks (
    analyzer_id              text NOT NULL,
    contract_id              text NOT NULL,
    timeframe                text NOT NULL,
    last_processed_timestamp timestamptz NOT NULL,
    PRIMARY KEY (analyzer_id, contract_id, timeframe)
);

-- How far each coordinator has got.
CREATE TABLE coordinator_watermarks (
    coordinator_id           text PRIMARY KEY,
    last_processed_signal_id bigint NOT NULL
);

-- What a program has to remember between runs, by name, as plain data.
CREATE TABLE stage_states (
    name     text PRIMARY KEY,
    state    jsonb NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now()
);
