-- Store bars that are not there yet; a whole bar replaces one that is not whole. One row a new or replaced bar.
-- $1 contract_id[] $2 timestamp[] $3 unit[] $4 value[] $5 open[] $6 high[] $7 low[] $8 close[] $9 volume[]
-- $10 ends_at[] $11 whole[]
INSERT INTO ohlc_bars AS stored
    (contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume, ends_at, whole)
SELECT * FROM unnest(
    $1::text[], $2::timestamptz[], $3::int[], $4::int[], $5::float8[], $6::float8[], $7::float8[], $8::float8[],
    $9::bigint[], $10::timestamptz[], $11::bool[]
)
ON CONFLICT (contract_id, timestamp, timeframe_unit, timeframe_value) DO UPDATE SET
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
    volume = excluded.volume, ends_at = excluded.ends_at, whole = true
WHERE excluded.whole AND NOT stored.whole
