-- Store the staged bars if no stored bar of their series lies among them, else none. One row a new bar.
-- Without ON CONFLICT each row costs half; a bar that another program adds meanwhile is a unique violation.
INSERT INTO ohlc_bars
    (contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume, ends_at, whole, source)
SELECT contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume, ends_at, whole, source
FROM staged_bars
WHERE NOT EXISTS (
    SELECT FROM (
        SELECT contract_id, timeframe_unit, timeframe_value, min(timestamp) AS first, max(timestamp) AS last
        FROM staged_bars GROUP BY 1, 2, 3
    ) AS series
    -- LIMIT keeps this one look into the index a series; as a join it could read the whole table.
    CROSS JOIN LATERAL (
        SELECT FROM ohlc_bars AS stored
        WHERE (stored.contract_id, stored.timeframe_unit, stored.timeframe_value)
            = (series.contract_id, series.timeframe_unit, series.timeframe_value)
          AND stored.timestamp BETWEEN series.first AND series.last
        LIMIT 1
    ) AS known
)
