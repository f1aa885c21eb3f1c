-- Where each bar comes from, what it was before it was revised, and what of the market was observed.

-- source: live (built from trades), history (the venue's own bar), rebuilt (made of smaller bars after a repair).
ALTER TABLE ohlc_bars
    ADD COLUMN source   text    NOT NULL DEFAULT 'live' CHECK (source IN ('live', 'history', 'rebuilt')),
    ADD COLUMN revision integer NOT NULL DEFAULT 0;

-- What a bar was before. revision is the number of the bar that took its place; the values are null for a bar that
-- came in behind later ones of its series, so that nothing was there before.
CREATE TABLE bar_revisions (
    revision_id     bigserial PRIMARY KEY,
    contract_id     text NOT NULL,
    timestamp       timestamptz NOT NULL,
    timeframe_unit  integer NOT NULL,
    timeframe_value integer NOT NULL,
    revision        integer NOT NULL,
    open            double precision,
    high            double precision,
    low             double precision,
    close           double precision,
    volume          bigint,
    whole           boolean,
    source          text,
    revised_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON bar_revisions (contract_id, timeframe_unit, timeframe_value, timestamp);

CREATE FUNCTION announce_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('bar_revisions', json_build_object(
        'revision_id', NEW.revision_id, 'contract_id', NEW.contract_id, 'timeframe_unit', NEW.timeframe_unit,
        'timeframe_value', NEW.timeframe_value, 'timestamp', NEW.timestamp, 'revision', NEW.revision)::text);
    RETURN NULL;
END $$;
CREATE TRIGGER announce AFTER INSERT ON bar_revisions FOR EACH ROW EXECUTE FUNCTION announce_revision();

-- In the database, so that no program can change a bar and hide it.
CREATE FUNCTION keep_bar_before_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revision := OLD.revision + 1;
    INSERT INTO bar_revisions (contract_id, timestamp, timeframe_unit, timeframe_value, revision,
                               open, high, low, close, volume, whole, source)
    VALUES (OLD.contract_id, OLD.timestamp, OLD.timeframe_unit, OLD.timeframe_value, NEW.revision,
            OLD.open, OLD.high, OLD.low, OLD.close, OLD.volume, OLD.whole, OLD.source);
    RETURN NEW;
END $$;
CREATE TRIGGER keep_before_revision BEFORE UPDATE ON ohlc_bars
    FOR EACH ROW EXECUTE FUNCTION keep_bar_before_revision();

-- In [begins_at, ends_at) every trade of the contract is in the bars of the smallest timeframe, so that no bar means
-- that nothing traded. Rows may overlap.
CREATE TABLE coverage (
    contract_id text NOT NULL,
    begins_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    source      text NOT NULL CHECK (source IN ('live', 'history')),
    PRIMARY KEY (contract_id, begins_at, source),
    CHECK (begins_at < ends_at)
);

-- When trades of a contract may have been missed. ends_at is null while it lasts. revised: bars written by its repair.
CREATE TABLE data_gaps (
    gap_id      bigserial PRIMARY KEY,
    contract_id text NOT NULL,
    begins_at   timestamptz NOT NULL,
    ends_at     timestamptz,
    cause       text NOT NULL,
    detail      text NOT NULL DEFAULT '',
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    opened_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at   timestamptz,
    attempts    integer NOT NULL DEFAULT 0,
    reason      text NOT NULL DEFAULT '',
    revised     integer NOT NULL DEFAULT 0,
    UNIQUE (contract_id, begins_at, cause)
);

-- When a contract can trade by its calendar.
CREATE TABLE trading_periods (
    contract_id text NOT NULL,
    trade_date  date NOT NULL,
    opens_at    timestamptz NOT NULL,
    closes_at   timestamptz NOT NULL,
    PRIMARY KEY (contract_id, opens_at),
    CHECK (opens_at < closes_at)
);

-- Which series are kept.
CREATE TABLE tracked_series (
    contract_id     text NOT NULL,
    timeframe_unit  integer NOT NULL,
    timeframe_value integer NOT NULL,
    since           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (contract_id, timeframe_unit, timeframe_value)
);
