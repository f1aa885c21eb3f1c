-- The newest fills of a contract in a stretch that were not voided, newest first.
-- $1 contract_id $2 from $3 to (not included) $4 at most
SELECT fill.fill_id, fill.account, coalesce(told.role, '') AS role, fill.side, fill.size, fill.price, fill.at
FROM fills AS fill
LEFT JOIN orders AS told ON told.account = fill.account AND told.venue_order_id = fill.order_id
WHERE fill.contract_id = $1 AND fill.at >= $2 AND fill.at < $3 AND NOT fill.voided
ORDER BY fill.at DESC, fill.fill_id DESC LIMIT $4
