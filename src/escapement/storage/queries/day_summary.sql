-- What a trading day came to.
-- $1 trade_date $2 opens_at $3 closes_at
SELECT (SELECT count(*) FROM detected_signals WHERE known_at > $2 AND known_at <= $3 AND superseded_at IS NULL)
           AS signals,
       (SELECT count(*) FROM decisions WHERE known_at > $2 AND known_at <= $3) AS decisions,
       (SELECT count(*) FROM risk_checks WHERE at > $2 AND at <= $3 AND NOT approved AND code <> 'already_held')
           AS refusals,  -- that a position is held already is no limit
       (SELECT count(*) FROM data_gaps WHERE begins_at < $3 AND (ends_at > $2 OR ends_at IS NULL)) AS gaps,
       (SELECT count(*) FROM data_gaps
        WHERE begins_at < $3 AND (ends_at > $2 OR ends_at IS NULL) AND state = 'open') AS gaps_open,
       coalesce((
           SELECT jsonb_agg(jsonb_build_object(
                      'account', account.account, 'fills', traded.fills, 'fees', traded.fees, 'profit', traded.profit,
                      'balance', day.balance, 'equity', day.equity) ORDER BY account.account)
           FROM execution_accounts AS account
           LEFT JOIN account_snapshots AS day ON day.account = account.account AND day.trade_date = $1
           LEFT JOIN LATERAL (
               SELECT count(*) AS fills, sum(fees) AS fees, sum(profit) AS profit
               FROM fills WHERE fills.account = account.account AND at > $2 AND at <= $3 AND NOT voided
           ) AS traded ON true
           WHERE traded.fills > 0 OR day.account IS NOT NULL
       ), '[]') AS accounts
