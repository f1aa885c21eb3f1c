-- Take note of fills; one that is there can only be voided.
-- $1 account $2 fill_id[] $3 contract_id[] $4 order_id[] $5 at[] $6 side[] $7 size[] $8 price[] $9 fees[] $10 profit[]
-- $11 voided[]
INSERT INTO fills AS kept (account, fill_id, contract_id, order_id, at, side, size, price, fees, profit, voided)
SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[], $6::text[], $7::int[], $8::float8[],
                         $9::numeric[], $10::numeric[], $11::boolean[])
ON CONFLICT (account, fill_id) DO UPDATE
    SET voided = kept.voided OR excluded.voided, profit = coalesce(excluded.profit, kept.profit)
