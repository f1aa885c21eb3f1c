-- How things stand now, by name and labels.
SELECT 'gaps_open' AS name, count(*)::float8 AS value, jsonb_build_object('contract', contract_id) AS labels
FROM data_gaps WHERE state = 'open' GROUP BY labels
UNION ALL
SELECT 'position_contracts', net, jsonb_build_object('account', account, 'contract', contract_id) FROM positions
UNION ALL
SELECT * FROM (
    SELECT DISTINCT ON (account) 'account_balance', balance::float8, jsonb_build_object('account', account)
    FROM account_snapshots ORDER BY account, trade_date DESC
) AS newest
UNION ALL
SELECT * FROM (
    SELECT DISTINCT ON (account) 'account_equity', equity::float8, jsonb_build_object('account', account)
    FROM account_snapshots ORDER BY account, trade_date DESC
) AS newest
UNION ALL
SELECT 'account_blocked', (blocked <> '')::int, jsonb_build_object('account', account) FROM execution_accounts
UNION ALL
SELECT 'killed', coalesce((SELECT killed FROM kill_switch ORDER BY switch_id DESC LIMIT 1), false)::int, '{}'
UNION ALL
SELECT 'analyzers_at_fault', count(*), '{}' FROM analyzer_watermarks WHERE fault <> ''
UNION ALL
SELECT 'notifications_waiting', count(*), jsonb_build_object('channel', channel) AS labels
FROM notification_deliveries WHERE state IN ('waiting', 'sending') GROUP BY labels
UNION ALL
SELECT 'database_bytes', pg_database_size(current_database()), '{}'
