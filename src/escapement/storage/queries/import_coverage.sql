-- Take note of staged stretches; one that began at the same moment grows.
WITH written AS (
    INSERT INTO coverage AS stored (contract_id, begins_at, ends_at, source)
    SELECT contract_id, begins_at, ends_at, source FROM staged_rows
    ON CONFLICT (contract_id, begins_at, source) DO UPDATE SET ends_at = excluded.ends_at
    WHERE stored.ends_at < excluded.ends_at
    RETURNING 1
)
SELECT count(*) FROM written
