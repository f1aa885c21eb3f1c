-- The close of each contract's newest bar, of whatever timeframe.
SELECT DISTINCT ON (series.contract_id) series.contract_id, last.close, last.ends_at
FROM tracked_series AS series
JOIN LATERAL (
    SELECT close, ends_at FROM ohlc_bars AS bar
    WHERE (bar.contract_id, bar.timeframe_unit, bar.timeframe_value)
        = (series.contract_id, series.timeframe_unit, series.timeframe_value)
    ORDER BY timestamp DESC LIMIT 1
) AS last ON true
ORDER BY series.contract_id, last.ends_at DESC
