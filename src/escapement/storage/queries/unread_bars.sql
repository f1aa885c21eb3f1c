-- How far instances of analyzers have got: the end of the first bar that each has yet to read (null: of none), why it
-- stands still, and when it last moved. An instance that never began has no id.
-- $1 analyzer_id[] $2 version[] $3 params[] $4 contract_id[] $5 timeframe[] $6 timeframe_unit[] $7 timeframe_value[]
SELECT named.place, kept.instance_id, coalesce(kept.fault, '') AS fault, kept.updated_at, unread.ends_at
FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[]) WITH ORDINALITY
    AS named (analyzer_id, analyzer_version, params, contract_id, timeframe, unit, value, place)
LEFT JOIN analyzer_watermarks AS kept USING (analyzer_id, analyzer_version, params, contract_id, timeframe)
LEFT JOIN LATERAL (
    SELECT bar.ends_at FROM ohlc_bars AS bar
    WHERE bar.contract_id = named.contract_id AND bar.timeframe_unit = named.unit AND bar.timeframe_value = named.value
      AND bar.timestamp > coalesce(kept.last_processed_timestamp, '-infinity')
    ORDER BY bar.timestamp LIMIT 1
) AS unread ON true
ORDER BY named.place
