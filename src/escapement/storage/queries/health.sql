-- How each service is: in the process that spoke of it last, and in every other one where it is still at work.
-- $1 how many seconds ago a process that is alive spoke at most
SELECT process, service, state, since, restarts, error, report, silent_s
FROM (
    SELECT *, extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent_s,
           row_number() OVER (PARTITION BY service ORDER BY heartbeat_at DESC) AS place
    FROM service_health
) AS heard
WHERE place = 1 OR (silent_s < $1 AND state NOT IN ('stopped', 'failed'))
ORDER BY service, process
