-- The accounts that were ever traded here.
SELECT account FROM execution_accounts ORDER BY account
