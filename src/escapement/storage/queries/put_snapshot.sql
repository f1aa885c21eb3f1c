-- Take note of where an account stands on a trading day.
-- $1 account $2 trade_date $3 start_balance $4 balance $5 equity
INSERT INTO account_snapshots AS kept
    (account, trade_date, start_balance, balance, highest_balance, equity, highest_equity)
VALUES ($1, $2, $3::numeric, $4::numeric, greatest($3::numeric, $4::numeric), $5::numeric,
        greatest($3::numeric, $5::numeric))
ON CONFLICT (account, trade_date) DO UPDATE
    SET balance = excluded.balance, highest_balance = greatest(kept.highest_balance, excluded.highest_balance),
        equity = excluded.equity, highest_equity = greatest(kept.highest_equity, excluded.highest_equity),
        updated_at = clock_timestamp()
