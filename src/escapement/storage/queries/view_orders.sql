-- The newest orders of a contract that worked at some time of a stretch, newest first. ended_at: null while one works.
-- $1 contract_id $2 from $3 to (not included) $4 at most
WITH known AS (
    SELECT told.*, coalesce(told.created_at, told.accepted_at, told.intended_at, told.updated_at) AS at,
           CASE WHEN told.status IN ('filled', 'cancelled', 'expired', 'rejected', 'lapsed')
                THEN coalesce((SELECT max(fill.at) FROM fills AS fill
                               WHERE fill.account = told.account AND fill.order_id = told.venue_order_id
                                 AND told.status = 'filled'), told.updated_at)
           END AS ended_at
    FROM orders AS told WHERE told.contract_id = $1
)
SELECT order_key, account, role, side, type, size, coalesce(limit_price, stop_price) AS price, status, at,
       CASE WHEN ended_at IS NOT NULL THEN greatest(ended_at, at) END AS ended_at, filled_price, decision_id
FROM known
WHERE at < $3 AND (ended_at IS NULL OR greatest(ended_at, at) >= $2)
ORDER BY at DESC, order_key LIMIT $4
