-- $1 account $2 only those not ended $3 changed from on, null for all
SELECT order_key, venue_order_id, contract_id, decision_id, role, type, side, size, limit_price, stop_price, status,
       filled_size, filled_price, refusal, intended_at, accepted_at, created_at, updated_at
FROM orders
WHERE account = $1 AND ($3::timestamptz IS NULL OR updated_at >= $3)
  AND (NOT $2 OR status NOT IN ('filled', 'cancelled', 'expired', 'rejected', 'lapsed'))
ORDER BY coalesce(created_at, intended_at), venue_order_id, order_key
