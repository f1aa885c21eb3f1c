-- Every series that is kept, and from when to when there are bars of it.
SELECT series.contract_id, series.timeframe_unit, series.timeframe_value, first.timestamp AS first, last.timestamp AS last
FROM tracked_series AS series
LEFT JOIN LATERAL (
    SELECT timestamp FROM ohlc_bars AS bar
    WHERE (bar.contract_id, bar.timeframe_unit, bar.timeframe_value)
        = (series.contract_id, series.timeframe_unit, series.timeframe_value)
    ORDER BY timestamp LIMIT 1
) AS first ON true
LEFT JOIN LATERAL (
    SELECT timestamp FROM ohlc_bars AS bar
    WHERE (bar.contract_id, bar.timeframe_unit, bar.timeframe_value)
        = (series.contract_id, series.timeframe_unit, series.timeframe_value)
    ORDER BY timestamp DESC LIMIT 1
) AS last ON true
ORDER BY 1, 2, 3
