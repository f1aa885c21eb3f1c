-- Store the staged revisions that are not there yet, under numbers of this database.
WITH written AS (
    INSERT INTO bar_revisions (contract_id, timestamp, timeframe_unit, timeframe_value, revision, open, high, low, close,
                               volume, whole, source, revised_at)
    SELECT contract_id, timestamp, timeframe_unit, timeframe_value, revision, open, high, low, close, volume, whole,
           source, revised_at
    FROM staged_rows AS staged
    WHERE NOT EXISTS (
        SELECT FROM bar_revisions AS stored
        WHERE (stored.contract_id, stored.timeframe_unit, stored.timeframe_value, stored.timestamp, stored.revision,
               stored.revised_at)
            = (staged.contract_id, staged.timeframe_unit, staged.timeframe_value, staged.timestamp, staged.revision,
               staged.revised_at)
    )
    ORDER BY revised_at
    RETURNING 1
)
SELECT count(*) FROM written
