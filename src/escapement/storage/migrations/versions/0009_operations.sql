-- What services report of themselves, and what people are told.

-- report: what the service said of itself with its last heartbeat: counts since it started, and of ingestion the feed.
ALTER TABLE service_health ADD COLUMN report jsonb NOT NULL DEFAULT '{}';

-- noted_at: when this program learned of a fill; null for those of before there was this column.
ALTER TABLE fills ADD COLUMN noted_at timestamptz;
ALTER TABLE fills ALTER COLUMN noted_at SET DEFAULT clock_timestamp();

-- Gaps that were found together bear the same moment, so that they are told as one.
ALTER TABLE data_gaps ALTER COLUMN opened_at SET DEFAULT now();

-- What is new is looked for by when it was stored.
CREATE INDEX ON detected_signals (stored_at);
CREATE INDEX ON decisions (decided_at);
CREATE INDEX ON fills (noted_at);

-- Every event that somebody is told of. event_id is made of what happened, so that who looks again finds the same one.
-- at: when it happened; details: what the message is made of.
CREATE TABLE notifications (
    event_id text PRIMARY KEY,
    kind     text NOT NULL,
    at       timestamptz NOT NULL,
    details  jsonb NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON notifications (noted_at);

-- One row an event and channel. state: waiting, sending (until claimed_until, after which whoever sent it is gone and it
-- is not known whether it arrived), sent, summarised (told as part of a summary), or failed (given up).
CREATE TABLE notification_deliveries (
    event_id      text NOT NULL REFERENCES notifications ON DELETE CASCADE,
    channel       text NOT NULL,
    state         text NOT NULL DEFAULT 'waiting'
                  CHECK (state IN ('waiting', 'sending', 'sent', 'summarised', 'failed')),
    attempts      integer NOT NULL DEFAULT 0,
    claimed_until timestamptz,
    settled_at    timestamptz,
    error         text NOT NULL DEFAULT '',
    PRIMARY KEY (event_id, channel)
);
CREATE INDEX ON notification_deliveries (channel) WHERE state IN ('waiting', 'sending');
