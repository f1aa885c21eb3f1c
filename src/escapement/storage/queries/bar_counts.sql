-- How many bars of each series there are, and from when to when.
SELECT contract_id, timeframe_unit, timeframe_value, count(*) AS bars, count(*) FILTER (WHERE NOT whole) AS not_whole,
       min(timestamp) AS first, max(timestamp) AS last
FROM ohlc_bars GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
