-- $1 account $2 from $3 to, null for all
SELECT fill_id, contract_id, order_id, at, side, size, price, fees, profit, voided
FROM fills
WHERE account = $1 AND ($2::timestamptz IS NULL OR at >= $2) AND ($3::timestamptz IS NULL OR at < $3)
ORDER BY at, fill_id
