-- As insert_bars, and a stage's state in the same statement, so that both are stored or neither.
-- $1 to $12 as insert_bars, $13 name, $14 state
WITH saved AS (
    INSERT INTO stage_states (name, state) VALUES ($13, $14::text::jsonb)
    ON CONFLICT (name) DO UPDATE SET state = excluded.state, saved_at = now()
),
written AS (
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
