-- The newest orders of a contract that worked at some time of a stretch, newest first. ended_at: null while one works.
-- Orders of a replay bear the market's time, and updated_at our clock's: there one that was cancelled ended with the next
-- fill on its side, which closed what it would have closed.
-- $1 contract_id $2 from $3 to (not included) $4 at most
WITH filled AS (
    SELECT account, order_id, max(at) AS at FROM fills WHERE contract_id = $1 AND at >= $2 GROUP BY account, order_id
),
known AS (
    SELECT told.*, coalesce(told.created_at, told.accepted_at, told.intended_at, told.updated_at) AS at,
           told.status IN ('cancelled', 'expired', 'rejected', 'lapsed') AS is_over,
           told.accepted_at - told.created_at > interval '1 hour' AS is_replayed
    FROM orders AS told
    WHERE told.contract_id = $1
      AND (told.status NOT IN ('filled', 'cancelled', 'expired', 'rejected', 'lapsed') OR told.updated_at >= $2)
),
ended AS (
    SELECT known.*,
           CASE WHEN known.status = 'filled' THEN greatest(filled.at, known.at)
                WHEN known.is_over THEN greatest(coalesce(closed.at, known.updated_at), known.at)
           END AS ended_at
    FROM known
    LEFT JOIN filled
           ON known.status = 'filled' AND filled.account = known.account AND filled.order_id = known.venue_order_id
    LEFT JOIN LATERAL (
        SELECT fill.at FROM fills AS fill
        WHERE fill.contract_id = $1 AND fill.account = known.account AND fill.side = known.side AND fill.at >= known.at
        ORDER BY fill.at LIMIT 1
    ) AS closed ON known.is_over AND known.is_replayed
    WHERE known.at < $3
)
SELECT order_key, account, role, side, type, size, coalesce(limit_price, stop_price) AS price, status, at, ended_at,
       filled_price, decision_id
FROM ended
WHERE ended_at IS NULL OR ended_at >= $2
ORDER BY at DESC, order_key LIMIT $4
