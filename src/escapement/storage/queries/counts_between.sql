-- How much was stored in [$1, $2), by kind and labels.
SELECT 'signals' AS name, count(*) AS value,
       jsonb_build_object('contract', contract_id, 'timeframe', timeframe, 'analyzer', analyzer_id,
                          'type', signal_type) AS labels
FROM detected_signals WHERE stored_at >= $1 AND stored_at < $2 GROUP BY labels
UNION ALL
SELECT 'decisions', count(*), jsonb_build_object('contract', contract_id, 'action', action) AS labels
FROM decisions WHERE decided_at >= $1 AND decided_at < $2 GROUP BY labels
UNION ALL
SELECT 'orders', count(*), jsonb_build_object('account', account, 'contract', contract_id, 'role', role) AS labels
FROM orders WHERE updated_at >= $1 AND accepted_at >= $1 AND accepted_at < $2 GROUP BY labels
UNION ALL
SELECT 'fills', count(*), jsonb_build_object('account', account, 'contract', contract_id, 'side', side) AS labels
FROM fills WHERE noted_at >= $1 AND noted_at < $2 AND NOT voided GROUP BY labels
UNION ALL
SELECT 'refusals', count(*), jsonb_build_object('account', account, 'contract', contract_id, 'code', code) AS labels
FROM risk_checks WHERE noted_at >= $1 AND noted_at < $2 AND NOT approved GROUP BY labels
UNION ALL
SELECT 'gaps_opened', count(*), jsonb_build_object('contract', contract_id, 'cause', cause) AS labels
FROM data_gaps WHERE opened_at >= $1 AND opened_at < $2 GROUP BY labels
UNION ALL
SELECT 'gaps_closed', count(*), jsonb_build_object('contract', contract_id, 'cause', cause) AS labels
FROM data_gaps WHERE closed_at >= $1 AND closed_at < $2 GROUP BY labels
UNION ALL
SELECT 'notifications', count(*), jsonb_build_object('channel', delivery.channel, 'state', delivery.state) AS labels
FROM notifications AS event JOIN notification_deliveries AS delivery USING (event_id)
WHERE event.noted_at >= $1 - interval '1 day' AND delivery.settled_at >= $1 AND delivery.settled_at < $2 GROUP BY labels
