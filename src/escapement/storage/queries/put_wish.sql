-- Replace what is wished of a contract, unless a newer decision is there, and say up to which number all were looked at.
-- $1 account $2 contract_id $3 decision_id $4 decision_number $5 direction $6 standing $7 known_at $8 data_complete
-- $9 looked at up to
WITH looked AS (
    UPDATE execution_accounts
    SET last_decision_number = greatest(last_decision_number, $9), updated_at = clock_timestamp()
    WHERE account = $1
)
INSERT INTO execution_wishes AS kept
    (account, contract_id, decision_id, decision_number, direction, standing, known_at, data_complete)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (account, contract_id) DO UPDATE
    SET decision_id = excluded.decision_id, decision_number = excluded.decision_number, direction = excluded.direction,
        standing = excluded.standing, known_at = excluded.known_at, data_complete = excluded.data_complete,
        updated_at = clock_timestamp()
    WHERE kept.decision_number < excluded.decision_number
