-- The newest events and what became of each on each channel, newest first.
-- $1 how many
SELECT event.event_id, event.kind, event.at, event.details, delivery.channel, delivery.state, delivery.attempts,
       delivery.settled_at, delivery.error
FROM (SELECT * FROM notifications ORDER BY noted_at DESC LIMIT $1) AS event
LEFT JOIN notification_deliveries AS delivery USING (event_id)
ORDER BY event.noted_at DESC, event.event_id, delivery.channel
