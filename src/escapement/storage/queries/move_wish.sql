-- Move an entry on from waiting; returns a row for who did.
-- $1 account $2 contract_id $3 decision_id $4 standing
UPDATE execution_wishes SET standing = $4, updated_at = clock_timestamp()
WHERE account = $1 AND contract_id = $2 AND decision_id = $3 AND standing = 'waiting'
RETURNING contract_id
