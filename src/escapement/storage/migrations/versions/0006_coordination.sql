-- What coordinators decided, why, and how far each of them has got.

-- One row a coordinator and contract. last_processed_signal_id: every signal of the contract up to it was looked at, or
-- belongs to a moment still to come. coordinated_to: the moment weighed last, null before the first. state: after it.
-- step: counts what was committed; who commits must know it.
ALTER TABLE coordinator_watermarks
    DROP CONSTRAINT coordinator_watermarks_pkey,
    ADD COLUMN contract_id    text NOT NULL,
    ADD COLUMN coordinated_to timestamptz,
    ADD COLUMN state          json,
    ADD COLUMN step           bigint NOT NULL DEFAULT 0,
    ADD COLUMN updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD PRIMARY KEY (coordinator_id, contract_id);

-- decision_id is made of what led to the decision. decision_number grows in the order in which decisions can be seen.
-- action: enter_long, enter_short, exit, reverse or hold; direction: the position wished from then on, 1, 0 or -1.
-- price: the last price at known_at, when anyone could have decided so; decided_at is when this program did.
-- data_complete: whether every trade up to known_at was known to be in the bars, and every analyzer had read them.
CREATE TABLE decisions (
    decision_id     text PRIMARY KEY,
    decision_number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    coordinator_id  text NOT NULL,
    contract_id     text NOT NULL,
    action          text NOT NULL CHECK (action IN ('enter_long', 'enter_short', 'exit', 'reverse', 'hold')),
    direction       smallint NOT NULL CHECK (direction IN (-1, 0, 1)),
    confidence      double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    price           double precision NOT NULL,
    known_at        timestamptz NOT NULL,
    rule            text NOT NULL,
    words           text NOT NULL,
    data_complete   boolean NOT NULL,
    decided_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON decisions (contract_id, known_at);
CREATE INDEX ON decisions (known_at);

-- The signals that led to each decision.
CREATE TABLE decision_signals (
    decision_id text NOT NULL REFERENCES decisions ON DELETE CASCADE,
    signal_id   bigint NOT NULL REFERENCES detected_signals,
    PRIMARY KEY (decision_id, signal_id)
);
CREATE INDEX ON decision_signals (signal_id);

-- What each rule said of each signal, in the order in which they were asked: a list of rule, stands, words and values,
-- the numbers compared. decision_id: the decision that the signal led to when it became known, if any.
CREATE TABLE decision_log (
    coordinator_id text NOT NULL,
    signal_id      bigint NOT NULL REFERENCES detected_signals,
    contract_id    text NOT NULL,
    known_at       timestamptz NOT NULL,
    verdicts       jsonb NOT NULL,
    decision_id    text REFERENCES decisions,
    noted_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (coordinator_id, signal_id)
);

-- The coordinator reads a contract's signals by time, and those that came late by number.
CREATE INDEX ON detected_signals (contract_id, known_at);
CREATE INDEX ON detected_signals (contract_id, signal_id);
