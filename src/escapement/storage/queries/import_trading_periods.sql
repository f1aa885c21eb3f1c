-- Take note of staged trading periods; one that is known stays as it is known here.
WITH written AS (
    INSERT INTO trading_periods (contract_id, trade_date, opens_at, closes_at)
    SELECT contract_id, trade_date, opens_at, closes_at FROM staged_rows
    ON CONFLICT (contract_id, opens_at) DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM written
