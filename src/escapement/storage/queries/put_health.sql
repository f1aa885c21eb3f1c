-- Take note of how services of a process are; forget what was not heard of for a week.
-- $1 process $2 service[] $3 state[] $4 since[] $5 restarts[] $6 error[] $7 report[]
WITH forgotten AS (DELETE FROM service_health WHERE heartbeat_at < clock_timestamp() - interval '7 days')
INSERT INTO service_health AS kept (process, service, state, since, restarts, error, report)
SELECT $1, given.service, given.state, given.since, given.restarts, given.error, given.report::jsonb
FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::int[], $6::text[], $7::text[])
    AS given (service, state, since, restarts, error, report)
ON CONFLICT (process, service) DO UPDATE
    SET state = excluded.state, since = excluded.since, restarts = excluded.restarts, error = excluded.error,
        report = excluded.report, heartbeat_at = clock_timestamp()
