-- The newest gaps that touch a stretch, newest first.
-- $1 contract_id, null for all $2 from $3 to, null for all $4 only those that are open $5 at most
SELECT contract_id, begins_at, ends_at, cause, detail, state, opened_at, closed_at, attempts, reason, revised
FROM data_gaps
WHERE ($1::text IS NULL OR contract_id = $1) AND ($3::timestamptz IS NULL OR begins_at < $3)
  AND ($2::timestamptz IS NULL OR ends_at IS NULL OR ends_at > $2 OR begins_at >= $2) AND (state = 'open' OR NOT $4)
ORDER BY begins_at DESC, gap_id DESC LIMIT $5
