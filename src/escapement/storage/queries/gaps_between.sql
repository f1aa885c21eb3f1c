-- Gaps of a contract that touch a stretch.
-- $1 contract_id $2 from $3 to (not included) $4 only those that are open
SELECT begins_at, ends_at, cause, detail, state, opened_at, closed_at, attempts, reason, revised FROM data_gaps
WHERE contract_id = $1 AND begins_at < $3 AND (ends_at IS NULL OR ends_at > $2 OR begins_at >= $2)
  AND (state = 'open' OR NOT $4)
ORDER BY begins_at, gap_id
