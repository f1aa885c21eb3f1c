-- Put an instance back to its checkpoint at $3, or with null to before its first bar, unless it moved meanwhile.
-- $1 instance_id $2 step $3 timestamp
WITH mark AS (
    SELECT timestamp, bars, revisions, state FROM analyzer_checkpoints WHERE instance_id = $1 AND timestamp = $3
),
moved AS (
    UPDATE analyzer_watermarks
    SET last_processed_timestamp = (SELECT timestamp FROM mark), bars = coalesce((SELECT bars FROM mark), 0),
        revisions = coalesce((SELECT revisions FROM mark), 0), state = (SELECT state FROM mark), step = step + 1,
        updated_at = clock_timestamp()
    WHERE instance_id = $1 AND step = $2
    RETURNING instance_id, last_processed_timestamp
)
DELETE FROM analyzer_checkpoints AS kept USING moved
WHERE kept.instance_id = moved.instance_id
  AND kept.timestamp > coalesce(moved.last_processed_timestamp, '-infinity')
