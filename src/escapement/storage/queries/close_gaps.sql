-- Take note that gaps are repaired.
-- $1 contract_id $2 begins_at[] $3 cause[] $4 how many bars that wrote
UPDATE data_gaps
SET attempts = attempts + 1, reason = '', state = 'closed', closed_at = clock_timestamp(), revised = revised + $4
FROM unnest($2::timestamptz[], $3::text[]) AS done (begins_at, cause)
WHERE contract_id = $1 AND data_gaps.begins_at = done.begins_at AND data_gaps.cause = done.cause
