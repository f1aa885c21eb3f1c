-- Take note of staged gaps; one that is known stays as it is known here. One that had not ended when it was written down
-- ends where the market was observed again, as far as that is known: coverage was read before.
WITH written AS (
    INSERT INTO data_gaps (contract_id, begins_at, ends_at, cause, detail, state, opened_at, closed_at, attempts, reason,
                           revised)
    SELECT contract_id, begins_at, coalesce(ends_at, (
               SELECT min(greatest(known.begins_at, staged.begins_at + interval '1 microsecond')) FROM coverage AS known
               WHERE known.contract_id = staged.contract_id AND known.ends_at > staged.begins_at
           )), cause, detail, state, opened_at, closed_at, attempts, reason, revised
    FROM staged_rows AS staged
    ON CONFLICT (contract_id, begins_at, cause) DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM written
