-- Say of signals that were just superseded what took their place: of the signals that hold, one of the same type on the
-- same bar, else one of the same type from the same trigger bar, else none.
-- $1 signal_id[]
UPDATE detected_signals AS old
SET superseded_by = (
    SELECT new.signal_id FROM detected_signals AS new
    WHERE new.instance_id = old.instance_id AND new.superseded_at IS NULL AND new.signal_type = old.signal_type
      AND (new.timestamp = old.timestamp OR new.trigger_timestamp = old.trigger_timestamp)
    ORDER BY new.timestamp = old.timestamp DESC, new.trigger_timestamp = old.trigger_timestamp DESC, new.signal_id
    LIMIT 1
)
WHERE old.signal_id = ANY ($1::bigint[])
