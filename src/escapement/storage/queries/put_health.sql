-- Take note of how services of a process are; forget what was not heard of for a week.
-- $1 process $2 service[] $3 state[] $4 since[] $5 restarts[] $6 error[]
WITH forgotten AS (DELETE FROM service_health WHERE heartbeat_at < clock_timestamp() - interval '7 days')
INSERT INTO service_health AS kept (process, service, state, since, restarts, error)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::int[], $6::text[])
ON CONFLICT (process, service) DO UPDATE
    SET state = excluded.state, since = excluded.since, restarts = excluded.restarts, error = excluded.error,
        heartbeat_at = clock_timestamp()
