-- What analyzers found, and where each of them stands.

-- One row an instance: an analyzer of one version with one set of parameters on the bars of one contract and timeframe.
-- params: JSON with sorted names. last_processed_timestamp: of the bar read last, null before the first.
-- first_timestamp: the earliest bar ever read. bars, revisions: how many bars were read up to there and the sum of their
-- revisions, so that a bar that was revised or came in behind shows. state: after that bar. step: counts what was
-- committed; who commits must know it. fault: why the instance stands still.
ALTER TABLE analyzer_watermarks
    DROP CONSTRAINT analyzer_watermarks_pkey,
    ALTER COLUMN last_processed_timestamp DROP NOT NULL,
    ADD COLUMN instance_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN analyzer_version integer NOT NULL,
    ADD COLUMN params           text NOT NULL,
    ADD COLUMN first_timestamp  timestamptz,
    ADD COLUMN bars             bigint NOT NULL DEFAULT 0,
    ADD COLUMN revisions        bigint NOT NULL DEFAULT 0,
    ADD COLUMN state            json,
    ADD COLUMN step             bigint NOT NULL DEFAULT 0,
    ADD COLUMN fault            text NOT NULL DEFAULT '',
    ADD COLUMN updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD CONSTRAINT analyzer_watermarks_unique
        UNIQUE (analyzer_id, analyzer_version, params, contract_id, timeframe);

-- Where an instance stood after earlier bars, to read on from there when a later bar is revised.
CREATE TABLE analyzer_checkpoints (
    instance_id bigint NOT NULL REFERENCES analyzer_watermarks ON DELETE CASCADE,
    timestamp   timestamptz NOT NULL,
    bars        bigint NOT NULL,
    revisions   bigint NOT NULL,
    state       json NOT NULL,
    PRIMARY KEY (instance_id, timestamp)
);

-- timestamp and signal_price belong to the marked bar, trigger_timestamp to the bar that revealed the signal; known_at
-- is that bar's end, trigger_whole whether it was whole then. stored_at is when this program found the signal.
-- superseded_at: since when it no longer holds because bars were revised; superseded_by: what took its place, if any.
-- A price as real would not be as quoted.
ALTER TABLE detected_signals
    ALTER COLUMN signal_id TYPE bigint,
    ALTER COLUMN signal_price TYPE double precision,
    ADD COLUMN instance_id       bigint NOT NULL REFERENCES analyzer_watermarks,
    ADD COLUMN analyzer_id       text NOT NULL,
    ADD COLUMN analyzer_version  integer NOT NULL,
    ADD COLUMN params            text NOT NULL,
    ADD COLUMN trigger_timestamp timestamptz NOT NULL,
    ADD COLUMN known_at          timestamptz NOT NULL,
    ADD COLUMN rule              text NOT NULL,
    ADD COLUMN trigger_whole     boolean NOT NULL,
    ADD COLUMN stored_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN superseded_at     timestamptz,
    ADD COLUMN superseded_by     bigint REFERENCES detected_signals;
ALTER SEQUENCE detected_signals_signal_id_seq AS bigint;

-- Makes a repeat harmless. Superseded signals are history, and the same one may hold again.
CREATE UNIQUE INDEX detected_signals_unique
    ON detected_signals (instance_id, trigger_timestamp, timestamp, signal_type, rule, signal_price)
    WHERE superseded_at IS NULL;
CREATE INDEX ON detected_signals (contract_id, timeframe, known_at);
CREATE INDEX ON detected_signals (known_at);
