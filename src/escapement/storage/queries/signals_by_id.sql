-- Signals by their numbers ($1), or those that led to a decision ($2), in the order in which they became known.
SELECT signal_id, analyzer_id, analyzer_version, params, contract_id, timeframe, signal_type, timestamp,
       trigger_timestamp, known_at, signal_price, rule, trigger_whole, stored_at, superseded_at, superseded_by
FROM detected_signals
WHERE signal_id = ANY ($1::bigint[])
   OR signal_id IN (SELECT signal_id FROM decision_signals WHERE decision_id = $2::text)
ORDER BY known_at, signal_id
