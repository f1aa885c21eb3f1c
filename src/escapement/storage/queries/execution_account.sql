-- $1 account
SELECT account, account_id, mode, since, start_balance, held_before::text, last_decision_number, blocked, blocked_until
FROM execution_accounts WHERE account = $1
