-- Store bars that are not there yet; a whole bar replaces one that is not whole. Rings the bell of each series that got
-- any, and returns how many were new or replaced.
-- $1 contract_id[] $2 timestamp[] $3 unit[] $4 value[] $5 open[] $6 high[] $7 low[] $8 close[] $9 volume[]
-- $10 ends_at[] $11 whole[] $12 source[]
WITH written AS (
    INSERT INTO ohlc_bars AS stored
        (contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume, ends_at, whole, source)
    SELECT * FROM unnest(
        $1::text[], $2::timestamptz[], $3::int[], $4::int[], $5::float8[], $6::float8[], $7::float8[], $8::float8[],
        $9::bigint[], $10::timestamptz[], $11::bool[], $12::text[]
    )
    ON CONFLICT (contract_id, timestamp, timeframe_unit, timeframe_value) DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, ends_at = excluded.ends_at, whole = true, source = excluded.source
    WHERE excluded.whole AND NOT stored.whole
    RETURNING contract_id, timeframe_unit, timeframe_value
),
series AS (
    SELECT contract_id || ' ' || timeframe_value || (ARRAY['s', 'm', 'h', 'd', 'w', 'mo'])[timeframe_unit] AS name,
           count(*) AS bars
    FROM written GROUP BY 1
),
rung AS (SELECT bars, pg_notify('ohlc_bars', name) FROM series)
SELECT coalesce(sum(bars), 0)::bigint FROM rung
