-- $1 account, null for all
SELECT account, contract_id, net, foreign_net, average_price, protected, made, tick_size, tick_value, updated_at
FROM positions WHERE $1::text IS NULL OR account = $1 ORDER BY account, contract_id
