-- Take leases that are free; returns a row for each that was. One that a transaction of its last holder still relies on is
-- passed over, so that a holder who freezes in the middle of it holds up nobody who has leases of his own to renew.
-- $1 resource[] $2 holder $3 seconds
WITH free AS (
    SELECT resource FROM leases
    WHERE resource = ANY ($1) AND until <= clock_timestamp()
    ORDER BY resource
    FOR UPDATE SKIP LOCKED
),
again AS (
    UPDATE leases
    SET holder = $2, token = token + 1, since = clock_timestamp(),
        until = clock_timestamp() + make_interval(secs => $3)
    FROM free WHERE leases.resource = free.resource
    RETURNING leases.resource, leases.token
),
first AS (
    INSERT INTO leases (resource, holder, token, since, until)
    SELECT resource, $2, 1, clock_timestamp(), clock_timestamp() + make_interval(secs => $3)
    FROM unnest($1::text[]) AS wanted (resource)
    WHERE NOT EXISTS (SELECT FROM leases AS kept WHERE kept.resource = wanted.resource)
    ORDER BY resource
    ON CONFLICT (resource) DO NOTHING
    RETURNING resource, token
)
SELECT resource, token FROM again UNION ALL SELECT resource, token FROM first
