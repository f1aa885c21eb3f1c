-- As insert_bars, from the staging table.
INSERT INTO ohlc_bars AS stored
    (contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume, ends_at, whole, source)
SELECT contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume, ends_at, whole, source
FROM staged_bars
ON CONFLICT (contract_id, timestamp, timeframe_unit, timeframe_value) DO UPDATE SET
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
    volume = excluded.volume, ends_at = excluded.ends_at, whole = true,
    source = excluded.source
WHERE excluded.whole AND NOT stored.whole
