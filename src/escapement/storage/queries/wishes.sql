-- $1 account
SELECT contract_id, decision_id, decision_number, direction, standing, known_at, data_complete
FROM execution_wishes WHERE account = $1
