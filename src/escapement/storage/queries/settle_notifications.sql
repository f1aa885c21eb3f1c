-- Say what came of sending events on a channel.
-- $1 channel $2 event_id[] $3 state: sent, summarised, or waiting to be sent again $4 error
UPDATE notification_deliveries
SET state = $3, error = $4, claimed_until = NULL,
    settled_at = CASE WHEN $3 IN ('sent', 'summarised') THEN clock_timestamp() END
WHERE channel = $1 AND event_id = ANY ($2::text[]) AND state = 'sending'
