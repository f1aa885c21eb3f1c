-- Say why an instance stands still, unless it moved meanwhile.
-- $1 instance_id $2 step $3 why
UPDATE analyzer_watermarks SET fault = $3, updated_at = clock_timestamp() WHERE instance_id = $1 AND step = $2
