-- Write an order down before it is sent; returns a row for who was first.
-- $1 account $2 order_key $3 contract_id $4 decision_id $5 role $6 type $7 side $8 size $9 limit_price $10 stop_price
INSERT INTO orders (account, order_key, contract_id, decision_id, role, type, side, size, limit_price, stop_price,
                    status, intended_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'intended', clock_timestamp())
ON CONFLICT (account, order_key) DO NOTHING
RETURNING order_key
