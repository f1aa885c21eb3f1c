-- Take the oldest events that wait on a channel, or whose sender is gone, to send them now. What failed three times comes
-- after the others, for it may be what the channel takes offence at.
-- $1 channel $2 how many at most $3 seconds until whoever takes them counts as gone
WITH taken AS (
    SELECT delivery.event_id
    FROM notification_deliveries AS delivery JOIN notifications AS event USING (event_id)
    WHERE delivery.channel = $1
      AND (delivery.state = 'waiting' OR (delivery.state = 'sending' AND delivery.claimed_until < clock_timestamp()))
    ORDER BY delivery.attempts >= 3, event.noted_at, event.at, event.event_id
    LIMIT $2
    FOR UPDATE OF delivery SKIP LOCKED
),
claimed AS (
    UPDATE notification_deliveries AS delivery
    SET state = 'sending', attempts = attempts + 1, claimed_until = clock_timestamp() + make_interval(secs => $3)
    FROM taken WHERE delivery.event_id = taken.event_id AND delivery.channel = $1
    RETURNING delivery.event_id, delivery.attempts
)
SELECT event.event_id, event.kind, event.at, event.details, claimed.attempts
FROM claimed JOIN notifications AS event USING (event_id)
ORDER BY event.noted_at, event.at, event.event_id
