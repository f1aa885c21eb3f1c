-- Store the staged bars that are not there yet, as they are. One that comes in behind later ones of its series counts as a
-- revision of nothing. Rings the bells, and returns how many bars were written.
-- $1 contract_id $2 from $3 to, the day of the staged bars
WITH series AS (
    SELECT DISTINCT timeframe_unit, timeframe_value FROM staged_rows
),
known AS MATERIALIZED (
    SELECT stored.* FROM series
    CROSS JOIN LATERAL (
        SELECT timestamp, timeframe_unit, timeframe_value FROM ohlc_bars AS bar
        WHERE bar.contract_id = $1 AND bar.timeframe_unit = series.timeframe_unit
          AND bar.timeframe_value = series.timeframe_value AND bar.timestamp >= $2 AND bar.timestamp < $3
        OFFSET 0  -- one look into the index a series, whatever the planner thinks of it
    ) AS stored
),
newest AS MATERIALIZED (
    SELECT series.*, last.timestamp FROM series
    CROSS JOIN LATERAL (
        SELECT timestamp FROM ohlc_bars AS bar
        WHERE bar.contract_id = $1 AND bar.timeframe_unit = series.timeframe_unit
          AND bar.timeframe_value = series.timeframe_value
        ORDER BY timestamp DESC LIMIT 1
    ) AS last
),
written AS (
    INSERT INTO ohlc_bars (contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume,
                           ends_at, whole, source, revision)
    SELECT contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume, ends_at, whole,
           source, revision
    FROM staged_rows AS staged
    WHERE NOT EXISTS (
        SELECT FROM known
        WHERE (known.timestamp, known.timeframe_unit, known.timeframe_value)
            = (staged.timestamp, staged.timeframe_unit, staged.timeframe_value)
    )
    RETURNING contract_id, timestamp, timeframe_unit, timeframe_value, revision
),
late AS (
    INSERT INTO bar_revisions (contract_id, timestamp, timeframe_unit, timeframe_value, revision)
    SELECT written.contract_id, written.timestamp, written.timeframe_unit, written.timeframe_value, written.revision
    FROM written JOIN newest USING (timeframe_unit, timeframe_value)
    WHERE written.timestamp < newest.timestamp
),
rung AS (
    SELECT bars, pg_notify('ohlc_bars', name)
    FROM (
        SELECT contract_id || ' ' || timeframe_value || (ARRAY['s', 'm', 'h', 'd', 'w', 'mo'])[timeframe_unit] AS name,
               count(*) AS bars
        FROM written GROUP BY 1
    ) AS bells
)
SELECT coalesce(sum(bars), 0)::bigint FROM rung
