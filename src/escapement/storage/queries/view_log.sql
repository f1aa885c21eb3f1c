-- The newest notes on signals with the signals themselves, newest first.
-- $1 contract_id $2 coordinator_id, null for all $3 rule that refused, or took part where all stood; null for any
-- $4 whether it led to a decision, null for both $5 known from $6 known to, null for all $7 at most
SELECT note.coordinator_id, note.verdicts::text AS verdicts, note.decision_id, said.*
FROM decision_log AS note
JOIN LATERAL (
    SELECT signal_id, analyzer_id, analyzer_version, params, contract_id, timeframe, signal_type, timestamp,
           trigger_timestamp, known_at, signal_price, rule, trigger_whole, stored_at, superseded_at, superseded_by
    FROM detected_signals AS stored WHERE stored.signal_id = note.signal_id
) AS said ON true
WHERE ($1::text IS NULL OR note.contract_id = $1) AND ($2::text IS NULL OR note.coordinator_id = $2)
  AND ($3::text IS NULL OR note.verdicts @> jsonb_build_array(jsonb_build_object('rule', $3::text, 'stands', false))
       OR (note.decision_id IS NOT NULL AND note.verdicts @> jsonb_build_array(jsonb_build_object('rule', $3::text))))
  AND ($4::boolean IS NULL OR (note.decision_id IS NOT NULL) = $4)
  AND ($5::timestamptz IS NULL OR note.known_at >= $5) AND ($6::timestamptz IS NULL OR note.known_at < $6)
ORDER BY note.known_at DESC, note.signal_id DESC LIMIT $7
