-- Give up what could not be sent on a channel for too long; returns how many.
-- $1 channel $2 seconds
WITH given_up AS (
    UPDATE notification_deliveries AS delivery
    SET state = 'failed', settled_at = clock_timestamp(), claimed_until = NULL
    FROM notifications AS event
    WHERE event.event_id = delivery.event_id AND delivery.channel = $1
      AND (delivery.state = 'waiting' OR (delivery.state = 'sending' AND delivery.claimed_until < clock_timestamp()))
      AND event.noted_at < clock_timestamp() - make_interval(secs => $2)
    RETURNING 1
)
SELECT count(*) FROM given_up
