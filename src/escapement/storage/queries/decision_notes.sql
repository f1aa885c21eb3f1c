-- What was noted of signals: of one ($1), or of all of one moment and contract that led to a decision ($2).
SELECT note.coordinator_id, note.signal_id, note.contract_id, note.known_at, note.verdicts::text AS verdicts,
       note.decision_id, note.noted_at
FROM decision_log AS note
WHERE ($1::bigint IS NULL OR note.signal_id = $1) AND ($2::text IS NULL OR note.decision_id = $2)
ORDER BY note.coordinator_id, note.signal_id
