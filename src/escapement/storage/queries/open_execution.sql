-- Take note of an account that was not traded before; what is decided already is not acted upon.
-- $1 account $2 account_id $3 mode $4 since $5 start_balance $6 held_before
INSERT INTO execution_accounts (account, account_id, mode, since, start_balance, held_before, last_decision_number)
SELECT $1, $2, $3, $4, $5, $6::text::jsonb, coalesce(max(decision_number), 0) FROM decisions
ON CONFLICT (account) DO NOTHING
