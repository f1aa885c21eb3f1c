-- What happened that somebody may want to be told of, and was stored since $1, and is not
-- in the outbox yet.
-- $1 since $2 seconds that a disconnect has to last $3 seconds after which a process fell silent, null: not known now
-- $4 seconds after a day's last close at which it is summed up
SELECT * FROM (
SELECT 'decision:' || decision_id AS event_id, 'decision' AS kind, decided_at AS at,
       jsonb_build_object('contract', contract_id, 'action', action, 'price', price, 'rule', rule, 'words', words,
                          'known_at', known_at, 'data_complete', data_complete) AS details
FROM decisions WHERE decided_at >= $1 AND action <> 'hold'
UNION ALL
SELECT 'fill:' || account || ':' || fill_id, 'fill', noted_at,
       jsonb_build_object('account', account, 'contract', contract_id, 'side', side, 'size', size, 'price', price,
                          'fees', fees, 'profit', profit, 'filled_at', at)
FROM fills WHERE noted_at >= $1 AND NOT voided
UNION ALL
SELECT 'refusal:' || check_id, 'refusal', noted_at,
       jsonb_build_object('account', account, 'contract', contract_id, 'code', code, 'words', words)
FROM risk_checks WHERE noted_at >= $1 AND NOT approved AND code <> 'already_held'  -- which is no limit
UNION ALL
SELECT 'refusal:order:' || account || ':' || order_key, 'refusal', updated_at,
       jsonb_build_object('account', account, 'contract', contract_id, 'code', 'venue', 'words', refusal)
FROM orders WHERE updated_at >= $1 AND refusal <> ''
UNION ALL
SELECT 'refusal:blocked:' || account || ':' || split_part(blocked, ':', 1) || ':'
           || coalesce(extract(epoch FROM blocked_until)::text, ''),
       'refusal', updated_at,
       jsonb_build_object('account', account, 'code', split_part(blocked, ':', 1), 'words', blocked,
                          'until', blocked_until)
FROM execution_accounts WHERE updated_at >= $1 AND blocked <> ''
UNION ALL
SELECT CASE cause WHEN 'freeze' THEN 'freeze:' ELSE 'gap_opened:' END || min(gap_id),
       CASE cause WHEN 'freeze' THEN 'freeze' ELSE 'gap_opened' END, opened_at,
       jsonb_build_object('contracts', jsonb_agg(contract_id ORDER BY contract_id), 'cause', cause,
                          'begins_at', min(begins_at), 'detail', min(detail))
FROM data_gaps WHERE opened_at >= $1 GROUP BY opened_at, cause
UNION ALL
SELECT 'gap_closed:' || gap_id || ':' || extract(epoch FROM closed_at), 'gap_closed', closed_at,
       jsonb_build_object('contracts', jsonb_build_array(contract_id), 'cause', cause, 'begins_at', begins_at,
                          'ends_at', ends_at, 'revised', revised)
FROM data_gaps WHERE closed_at >= $1
UNION ALL
SELECT 'disconnect:' || min(gap_id), 'disconnect', opened_at,
       jsonb_build_object('contracts', jsonb_agg(contract_id ORDER BY contract_id), 'begins_at', min(begins_at),
                          'ends_at', max(ends_at), 'detail', min(detail),
                          'lasts', bool_or(ends_at IS NULL))
FROM data_gaps
WHERE opened_at >= $1 - make_interval(secs => $2) AND cause = 'disconnect'
GROUP BY opened_at
HAVING bool_or(ends_at IS NULL AND opened_at <= statement_timestamp() - make_interval(secs => $2))
    OR bool_or(ends_at - begins_at >= make_interval(secs => $2))
UNION ALL
SELECT CASE WHEN killed THEN 'kill:' ELSE 'resume:' END || switch_id, CASE WHEN killed THEN 'kill' ELSE 'resume' END, at,
       jsonb_build_object('reason', reason, 'by', by)
FROM kill_switch WHERE at >= $1
UNION ALL
-- A failure is known by how many came before it, for the state it leaves may have passed when it is looked for.
SELECT 'service_failed:' || process || ':' || service || ':' || restarts + (state IN ('waiting', 'failed'))::int,
       'service_failed', since,
       jsonb_build_object('services', jsonb_build_array(service), 'process', process, 'error', error, 'state', state)
FROM service_health
WHERE since >= $1 AND error <> '' AND restarts + (state IN ('waiting', 'failed'))::int > 0
UNION ALL
SELECT 'service_failed:silent:' || process || ':' || extract(epoch FROM max(heartbeat_at)), 'service_failed',
       max(heartbeat_at),
       jsonb_build_object('services', jsonb_agg(service ORDER BY service), 'process', process,
                          'error', 'its process no longer speaks', 'state', 'silent')
FROM service_health
WHERE $3::float8 IS NOT NULL AND state NOT IN ('stopped', 'failed')
  AND heartbeat_at >= $1 - make_interval(secs => $3)
  AND heartbeat_at < statement_timestamp() - make_interval(secs => $3)
GROUP BY process
UNION ALL
SELECT 'summary:' || trade_date, 'summary', max(closes_at),
       jsonb_build_object('trade_date', trade_date, 'opens_at', min(opens_at), 'closes_at', max(closes_at))
FROM trading_periods
WHERE trade_date >= ($1 - interval '4 days')::date AND trade_date <= (statement_timestamp() + interval '1 day')::date
GROUP BY trade_date
HAVING max(closes_at) >= $1 - make_interval(secs => $4)
   AND max(closes_at) < statement_timestamp() - make_interval(secs => $4)
) AS found
WHERE NOT EXISTS (SELECT FROM notifications AS known WHERE known.event_id = found.event_id)
ORDER BY at, event_id
