-- Take leases that are free; returns a row for each that was. A holder's own is taken anew like any other.
-- $1 resource[] $2 holder $3 seconds
INSERT INTO leases AS kept (resource, holder, token, since, until)
SELECT resource, $2, 1, clock_timestamp(), clock_timestamp() + make_interval(secs => $3)
FROM unnest($1::text[]) AS resource
ORDER BY resource
ON CONFLICT (resource) DO UPDATE
    SET holder = excluded.holder, token = kept.token + 1, since = clock_timestamp(),
        until = clock_timestamp() + make_interval(secs => $3)
    WHERE kept.until <= clock_timestamp()
RETURNING resource, token
