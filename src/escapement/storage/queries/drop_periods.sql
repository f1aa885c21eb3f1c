-- Forget periods of a stretch that the calendar no longer has.
-- $1 contract_id $2 from $3 to $4 opens_at[] that stay
DELETE FROM trading_periods
WHERE contract_id = $1 AND opens_at >= $2 AND opens_at < $3 AND NOT opens_at = ANY ($4::timestamptz[])
