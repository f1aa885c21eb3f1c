-- Who steered from the dashboard. who: the role that was logged in; address: whence; act: such as login, kill or resume;
-- subject: what it was about, with the reason given; outcome: done or refused.
CREATE TABLE audit_log (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    who      text NOT NULL,
    address  text NOT NULL,
    act      text NOT NULL,
    subject  text NOT NULL DEFAULT '',
    outcome  text NOT NULL CHECK (outcome IN ('done', 'refused'))
);
CREATE INDEX ON audit_log (at);

-- The dashboard reads these by time and contract.
CREATE INDEX ON decision_log (known_at);
CREATE INDEX ON decision_log (decision_id);
CREATE INDEX ON fills (contract_id, at);
CREATE INDEX ON orders (contract_id, updated_at);
CREATE INDEX ON data_gaps (begins_at);
