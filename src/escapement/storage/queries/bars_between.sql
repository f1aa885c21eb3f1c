-- $1 contract_id $2 unit $3 value $4 from $5 to (not included)
SELECT timestamp, ends_at, open, high, low, close, volume, whole, source FROM ohlc_bars
WHERE contract_id = $1 AND timeframe_unit = $2 AND timeframe_value = $3 AND timestamp >= $4 AND timestamp < $5
ORDER BY timestamp
