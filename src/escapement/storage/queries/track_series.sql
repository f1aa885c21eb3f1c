-- $1 contract_id[] $2 unit[] $3 value[]
INSERT INTO tracked_series (contract_id, timeframe_unit, timeframe_value)
SELECT * FROM unnest($1::text[], $2::int[], $3::int[]) ON CONFLICT DO NOTHING
