-- Every series that is kept.
SELECT contract_id, timeframe_unit, timeframe_value FROM tracked_series
ORDER BY contract_id, timeframe_unit, timeframe_value
