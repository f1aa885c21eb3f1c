-- What waits to be weighed: the first moment, the moment of the $4th signal (null when there are fewer), and up to which
-- moment signals have waited since before $5.
-- $1 contract_id $2 instance_id[] $3 weighed up to, null before the first
WITH waiting AS (
    SELECT known_at, stored_at FROM detected_signals
    WHERE contract_id = $1 AND instance_id = ANY ($2::bigint[]) AND superseded_at IS NULL
      AND known_at > coalesce($3::timestamptz, '-infinity')
)
SELECT (SELECT min(known_at) FROM waiting) AS first,
       (SELECT known_at FROM waiting ORDER BY known_at OFFSET $4::bigint - 1 LIMIT 1) AS enough,
       (SELECT max(known_at) FROM waiting WHERE stored_at < $5::timestamptz) AS overdue
