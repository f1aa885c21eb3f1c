-- When an account was looked at last.
-- $1 account
SELECT max(updated_at) FROM account_snapshots WHERE account = $1
