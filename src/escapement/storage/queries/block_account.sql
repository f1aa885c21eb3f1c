-- $1 account $2 blocked $3 blocked_until
UPDATE execution_accounts SET blocked = $2, blocked_until = $3, updated_at = clock_timestamp() WHERE account = $1
