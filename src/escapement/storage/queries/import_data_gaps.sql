-- Take note of staged gaps; one that is known stays as it is known here.
WITH written AS (
    INSERT INTO data_gaps (contract_id, begins_at, ends_at, cause, detail, state, opened_at, closed_at, attempts, reason,
                           revised)
    SELECT contract_id, begins_at, ends_at, cause, detail, state, opened_at, closed_at, attempts, reason, revised
    FROM staged_rows
    ON CONFLICT (contract_id, begins_at, cause) DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM written
