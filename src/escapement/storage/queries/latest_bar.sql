-- $1 contract_id $2 unit $3 value
SELECT timestamp, ends_at, open, high, low, close, volume, whole, source FROM ohlc_bars
WHERE contract_id = $1 AND timeframe_unit = $2 AND timeframe_value = $3
ORDER BY timestamp DESC LIMIT 1
