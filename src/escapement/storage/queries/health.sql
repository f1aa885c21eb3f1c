-- How each service is, in the process that spoke of it last.
SELECT DISTINCT ON (service) process, service, state, since, restarts, error,
       extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent_s
FROM service_health ORDER BY service, heartbeat_at DESC
