-- As insert_bars, and a stage's state in the same statement, so that both are stored or neither.
-- $1 to $11 as insert_bars, $12 name, $13 state
WITH saved AS (
    INSERT INTO stage_states (name, state) VALUES ($12, $13::text::jsonb)
    ON CONFLICT (name) DO UPDATE SET state = excluded.state, saved_at = now()
)
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
