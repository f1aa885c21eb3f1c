-- $1 account $2 decision_id $3 contract_id $4 at $5 size $6 approved $7 code $8 words $9 checks
INSERT INTO risk_checks (account, decision_id, contract_id, at, size, approved, code, words, checks)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb)
