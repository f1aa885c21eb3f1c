-- Which timeframes of a contract are kept.
-- $1 contract_id
SELECT timeframe_unit, timeframe_value FROM tracked_series WHERE contract_id = $1 ORDER BY 1, 2
