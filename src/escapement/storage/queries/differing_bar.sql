-- The first staged bar that the database has with other values.
-- $1 contract_id $2 from $3 to, the day of the staged bars
SELECT staged.timestamp, staged.timeframe_unit, staged.timeframe_value, staged.revision,
       stored.revision AS stored_revision
FROM (SELECT DISTINCT timeframe_unit, timeframe_value FROM staged_rows) AS series
CROSS JOIN LATERAL (
    SELECT * FROM ohlc_bars AS bar
    WHERE bar.contract_id = $1 AND bar.timeframe_unit = series.timeframe_unit
      AND bar.timeframe_value = series.timeframe_value AND bar.timestamp >= $2 AND bar.timestamp < $3
    OFFSET 0  -- one look into the index a series, whatever the planner thinks of it
) AS stored
JOIN staged_rows AS staged
  ON (staged.timestamp, staged.timeframe_unit, staged.timeframe_value)
   = (stored.timestamp, stored.timeframe_unit, stored.timeframe_value)
WHERE (stored.open, stored.high, stored.low, stored.close, stored.volume, stored.ends_at, stored.whole, stored.source,
       stored.revision)
      IS DISTINCT FROM
      (staged.open, staged.high, staged.low, staged.close, staged.volume, staged.ends_at, staged.whole, staged.source,
       staged.revision)
ORDER BY 1, 2, 3 LIMIT 1
