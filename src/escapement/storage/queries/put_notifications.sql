-- Take note of events and of whom to tell, each once; forget what was noted 90 days ago. Returns what is new.
-- $1 event_id[] $2 kind[] $3 at[] $4 details[] ; deliveries: $5 event_id[] $6 channel[]
WITH forgotten AS (DELETE FROM notifications WHERE noted_at < clock_timestamp() - interval '90 days'),
added AS (
    INSERT INTO notifications (event_id, kind, at, details)
    SELECT given.event_id, given.kind, given.at, given.details::jsonb
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) AS given (event_id, kind, at, details)
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id
),
addressed AS (
    INSERT INTO notification_deliveries (event_id, channel)
    SELECT given.event_id, given.channel
    FROM unnest($5::text[], $6::text[]) AS given (event_id, channel) JOIN added USING (event_id)
)
SELECT event_id FROM added
