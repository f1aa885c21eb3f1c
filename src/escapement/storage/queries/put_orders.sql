-- Take note of orders as they stand.
-- $1 account $2 order_key[] $3 venue_order_id[] $4 contract_id[] $5 decision_id[] $6 role[] $7 type[] $8 side[]
-- $9 size[] $10 limit_price[] $11 stop_price[] $12 status[] $13 filled_size[] $14 filled_price[] $15 refusal[]
-- $16 created_at[]
INSERT INTO orders AS kept
    (account, order_key, venue_order_id, contract_id, decision_id, role, type, side, size, limit_price, stop_price,
     status, filled_size, filled_price, refusal, created_at, accepted_at)
SELECT $1, given.*, CASE WHEN given.venue_order_id IS NOT NULL THEN clock_timestamp() END
FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int[],
            $10::float8[], $11::float8[], $12::text[], $13::int[], $14::float8[], $15::text[], $16::timestamptz[])
    AS given (order_key, venue_order_id, contract_id, decision_id, role, type, side, size, limit_price, stop_price,
              status, filled_size, filled_price, refusal, created_at)
ON CONFLICT (account, order_key) DO UPDATE
    SET venue_order_id = coalesce(excluded.venue_order_id, kept.venue_order_id),
        decision_id = coalesce(kept.decision_id, excluded.decision_id),
        size = excluded.size, limit_price = excluded.limit_price, stop_price = excluded.stop_price,
        status = excluded.status, filled_size = excluded.filled_size, filled_price = excluded.filled_price,
        refusal = CASE WHEN excluded.refusal = '' THEN kept.refusal ELSE excluded.refusal END,
        created_at = coalesce(excluded.created_at, kept.created_at),
        accepted_at = coalesce(kept.accepted_at, excluded.accepted_at), updated_at = clock_timestamp()
