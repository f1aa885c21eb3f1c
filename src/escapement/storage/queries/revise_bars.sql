-- Store bars, and let them take the place of stored ones that differ. A bar that comes in behind later ones of its series
-- counts as a revision of nothing. Rings the bells, and returns how many bars were written.
-- $1 to $12 as insert_bars
WITH given AS (
    SELECT * FROM unnest(
        $1::text[], $2::timestamptz[], $3::int[], $4::int[], $5::float8[], $6::float8[], $7::float8[], $8::float8[],
        $9::bigint[], $10::timestamptz[], $11::bool[], $12::text[]
    ) AS bar (contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume, ends_at, whole, source)
),
newest AS MATERIALIZED (
    SELECT series.*, last.timestamp
    FROM (SELECT DISTINCT contract_id, timeframe_unit, timeframe_value FROM given) AS series
    CROSS JOIN LATERAL (
        SELECT timestamp FROM ohlc_bars AS stored
        WHERE (stored.contract_id, stored.timeframe_unit, stored.timeframe_value)
            = (series.contract_id, series.timeframe_unit, series.timeframe_value)
        ORDER BY timestamp DESC LIMIT 1
    ) AS last
),
written AS (
    INSERT INTO ohlc_bars AS stored
        (contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume, ends_at, whole, source)
    SELECT * FROM given
    ON CONFLICT (contract_id, timestamp, timeframe_unit, timeframe_value) DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, ends_at = excluded.ends_at, whole = excluded.whole, source = excluded.source
    WHERE (excluded.whole OR NOT stored.whole)
      AND (stored.open, stored.high, stored.low, stored.close, stored.volume, stored.ends_at, stored.whole)
          IS DISTINCT FROM
          (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.ends_at, excluded.whole)
    RETURNING contract_id, timestamp, timeframe_unit, timeframe_value, revision
),
late AS (
    INSERT INTO bar_revisions (contract_id, timestamp, timeframe_unit, timeframe_value, revision)
    SELECT written.contract_id, written.timestamp, written.timeframe_unit, written.timeframe_value, 0
    FROM written JOIN newest USING (contract_id, timeframe_unit, timeframe_value)
    WHERE written.revision = 0 AND written.timestamp < newest.timestamp
),
series AS (
    SELECT contract_id || ' ' || timeframe_value || (ARRAY['s', 'm', 'h', 'd', 'w', 'mo'])[timeframe_unit] AS name,
           count(*) AS bars
    FROM written GROUP BY 1
),
rung AS (SELECT bars, pg_notify('ohlc_bars', name) FROM series)
SELECT coalesce(sum(bars), 0)::bigint FROM rung
