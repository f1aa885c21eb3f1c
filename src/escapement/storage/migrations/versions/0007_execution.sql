-- What was ordered, what came of it, and why something was not done. Money is numeric, in the account's currency.

-- One row an account that was ever traded. account: its name at the venue, or that of the paper account. since: when its
-- book began; held_before: what it held of each contract then. last_decision_number: every decision up to it was looked
-- at. blocked: why nothing may be opened until blocked_until.
CREATE TABLE execution_accounts (
    account              text PRIMARY KEY,
    account_id           bigint NOT NULL,
    mode                 text NOT NULL CHECK (mode IN ('paper', 'live')),
    since                timestamptz NOT NULL,
    start_balance        numeric NOT NULL,
    held_before          jsonb NOT NULL DEFAULT '{}',
    last_decision_number bigint NOT NULL,
    blocked              text NOT NULL DEFAULT '',
    blocked_until        timestamptz,
    updated_at           timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The position wished of each contract, by its newest decision. standing: waiting, sent or dropped; an entry is sent only
-- by who moves it from waiting to sent.
CREATE TABLE execution_wishes (
    account         text NOT NULL REFERENCES execution_accounts ON DELETE CASCADE,
    contract_id     text NOT NULL,
    decision_id     text NOT NULL,
    decision_number bigint NOT NULL,
    direction       smallint NOT NULL CHECK (direction IN (-1, 0, 1)),
    standing        text NOT NULL CHECK (standing IN ('waiting', 'sent', 'dropped')),
    known_at        timestamptz NOT NULL,
    data_complete   boolean NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, contract_id)
);

-- Every order, our own from before it was sent. order_key: its custom tag, or # and the venue's number. status: intended
-- (written down, and perhaps sent), then as the venue has it; lapsed: it never reached the venue. role: entry, stop,
-- target, close or foreign. refusal: the venue's words.
CREATE TABLE orders (
    account        text NOT NULL,
    order_key      text NOT NULL,
    venue_order_id bigint,
    contract_id    text NOT NULL,
    decision_id    text,
    role           text NOT NULL,
    type           text NOT NULL,
    side           text NOT NULL CHECK (side IN ('buy', 'sell')),
    size           integer NOT NULL,
    limit_price    double precision,
    stop_price     double precision,
    status         text NOT NULL,
    filled_size    integer NOT NULL DEFAULT 0,
    filled_price   double precision,
    refusal        text NOT NULL DEFAULT '',
    intended_at    timestamptz,
    accepted_at    timestamptz,
    created_at     timestamptz,
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, order_key)
);
CREATE INDEX ON orders (account, venue_order_id);
CREATE INDEX ON orders (updated_at);

-- Every execution, the venue's half-turns. profit is the venue's, null for one that opens.
CREATE TABLE fills (
    account     text NOT NULL,
    fill_id     bigint NOT NULL,
    contract_id text NOT NULL,
    order_id    bigint NOT NULL,
    at          timestamptz NOT NULL,
    side        text NOT NULL CHECK (side IN ('buy', 'sell')),
    size        integer NOT NULL,
    price       double precision NOT NULL,
    fees        numeric NOT NULL,
    profit      numeric,
    voided      boolean NOT NULL,
    PRIMARY KEY (account, fill_id)
);
CREATE INDEX ON fills (account, at);

-- What is held now. protected: contracts closed by working stops. foreign_net: of net, what others opened. made: what
-- closed lots made less all fees, since the account's book began.
CREATE TABLE positions (
    account       text NOT NULL,
    contract_id   text NOT NULL,
    net           integer NOT NULL,
    foreign_net   integer NOT NULL,
    average_price double precision,
    protected     integer NOT NULL,
    made          numeric NOT NULL,
    tick_size     numeric NOT NULL,
    tick_value    numeric NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, contract_id)
);

-- Where an account stood when it was looked at last on each trading day. equity: with open positions at the price at
-- which they could be closed.
CREATE TABLE account_snapshots (
    account         text NOT NULL,
    trade_date      date NOT NULL,
    start_balance   numeric NOT NULL,
    balance         numeric NOT NULL,
    highest_balance numeric NOT NULL,
    equity          numeric NOT NULL,
    highest_equity  numeric NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, trade_date)
);

-- What the risk checks said of each entry that was wished. code: of the check that refused, empty when approved; checks:
-- all that were made, in order, each with code, passed, words and the values compared.
CREATE TABLE risk_checks (
    check_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     text NOT NULL,
    decision_id text NOT NULL,
    contract_id text NOT NULL,
    at          timestamptz NOT NULL,
    size        integer NOT NULL,
    approved    boolean NOT NULL,
    code        text NOT NULL,
    words       text NOT NULL,
    checks      jsonb NOT NULL,
    noted_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON risk_checks (noted_at);
CREATE INDEX ON risk_checks (decision_id);

-- Where the venue and our book differed. kind: what differed; action: what was done about it.
CREATE TABLE reconciliations (
    reconciliation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account           text NOT NULL,
    at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    cause             text NOT NULL,
    kind              text NOT NULL,
    subject           text NOT NULL,
    ours              text NOT NULL,
    venues            text NOT NULL,
    action            text NOT NULL
);
CREATE INDEX ON reconciliations (at);

-- The kill switch: the newest row counts.
CREATE TABLE kill_switch (
    switch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    killed    boolean NOT NULL,
    reason    text NOT NULL,
    by        text NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
