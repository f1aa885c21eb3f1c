-- The next bars of several series, oldest first. place counts the series as given, from 1.
-- $1 contract_id[] $2 unit[] $3 value[] $4 after[], null for all $5 at most[]
SELECT named.place, bar.*
FROM unnest($1::text[], $2::int[], $3::int[], $4::timestamptz[], $5::int[])
    WITH ORDINALITY AS named (contract_id, unit, value, after, most, place)
CROSS JOIN LATERAL (
    SELECT timestamp, ends_at, open, high, low, close, volume, whole, source, revision
    FROM ohlc_bars
    WHERE contract_id = named.contract_id AND timeframe_unit = named.unit AND timeframe_value = named.value
      AND timestamp > coalesce(named.after, '-infinity')
    ORDER BY timestamp LIMIT named.most
) AS bar
ORDER BY named.place, bar.timestamp
