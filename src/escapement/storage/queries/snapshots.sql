-- The days of an account, oldest first.
-- $1 account $2 trade_date, from it on; null for all
SELECT trade_date, start_balance, balance, highest_balance, equity, highest_equity
FROM account_snapshots WHERE account = $1 AND ($2::date IS NULL OR trade_date >= $2) ORDER BY trade_date
