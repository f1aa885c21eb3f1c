-- $1 contract_id
SELECT contract_id, begins_at, ends_at, cause, detail FROM data_gaps
WHERE contract_id = $1 AND state = 'open' ORDER BY begins_at, cause
