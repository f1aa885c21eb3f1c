-- Where instances stand, those of these keys.
-- $1 analyzer_id[] $2 version[] $3 params[] $4 contract_id[] $5 timeframe[]
SELECT kept.instance_id, kept.analyzer_id, kept.analyzer_version, kept.params, kept.contract_id, kept.timeframe,
       kept.last_processed_timestamp, kept.first_timestamp, kept.bars, kept.revisions, kept.state::text AS state,
       kept.step, kept.fault
FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[])
    AS named (analyzer_id, analyzer_version, params, contract_id, timeframe)
JOIN analyzer_watermarks AS kept USING (analyzer_id, analyzer_version, params, contract_id, timeframe)
