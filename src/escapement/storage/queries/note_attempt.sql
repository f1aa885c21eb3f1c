-- Take note that a repair did not succeed.
-- $1 contract_id $2 begins_at[] $3 cause[] $4 reason
UPDATE data_gaps SET attempts = attempts + 1, reason = $4
FROM unnest($2::timestamptz[], $3::text[]) AS tried (begins_at, cause)
WHERE contract_id = $1 AND data_gaps.begins_at = tried.begins_at AND data_gaps.cause = tried.cause
