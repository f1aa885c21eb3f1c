-- $1 contract_id $2 trade_date[] $3 opens_at[] $4 closes_at[]
INSERT INTO trading_periods AS known (contract_id, trade_date, opens_at, closes_at)
SELECT $1, * FROM unnest($2::date[], $3::timestamptz[], $4::timestamptz[])
ON CONFLICT (contract_id, opens_at) DO UPDATE SET trade_date = excluded.trade_date, closes_at = excluded.closes_at
WHERE (known.trade_date, known.closes_at) IS DISTINCT FROM (excluded.trade_date, excluded.closes_at)
