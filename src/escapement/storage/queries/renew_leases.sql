-- Hold leases for longer, also those that have run out and that nobody took meanwhile; returns a row for each.
-- $1 resource[] $2 token[] $3 holder $4 seconds
WITH mine AS (
    SELECT kept.resource FROM leases AS kept
    JOIN unnest($1::text[], $2::bigint[]) AS held (resource, token)
        ON kept.resource = held.resource AND kept.token = held.token
    WHERE kept.holder = $3
    ORDER BY kept.resource
    FOR UPDATE OF kept
)
UPDATE leases SET until = clock_timestamp() + make_interval(secs => $4)
FROM mine WHERE leases.resource = mine.resource
RETURNING leases.resource
