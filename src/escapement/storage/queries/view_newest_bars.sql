-- The newest bars labelled before $4, newest first.
-- $1 contract_id $2 unit $3 value $4 before $5 at most
SELECT timestamp, ends_at, open, high, low, close, volume, 1 AS bars, whole FROM ohlc_bars
WHERE contract_id = $1 AND timeframe_unit = $2 AND timeframe_value = $3 AND timestamp < $4
ORDER BY timestamp DESC LIMIT $5
