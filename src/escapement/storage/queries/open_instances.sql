-- Take note of instances that were not there yet.
-- $1 analyzer_id[] $2 version[] $3 params[] $4 contract_id[] $5 timeframe[]
INSERT INTO analyzer_watermarks (analyzer_id, analyzer_version, params, contract_id, timeframe)
SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[])
ON CONFLICT ON CONSTRAINT analyzer_watermarks_unique DO NOTHING
