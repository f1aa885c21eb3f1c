-- Take note that the staged series are kept.
WITH written AS (
    INSERT INTO tracked_series (contract_id, timeframe_unit, timeframe_value, since)
    SELECT contract_id, timeframe_unit, timeframe_value, since FROM staged_rows
    ON CONFLICT (contract_id, timeframe_unit, timeframe_value) DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM written
