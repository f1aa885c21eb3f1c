-- Give leases back: free at once, and no longer the holder's. Those that say who takes part are forgotten.
-- $1 resource[] $2 token[] $3 holder
WITH left_behind AS (
    DELETE FROM leases
    WHERE starts_with(resource, 'member ') AND (holder = $3 AND resource = ANY ($1)
          OR until < clock_timestamp() - interval '1 day')
)
UPDATE leases SET holder = '', until = clock_timestamp()
FROM unnest($1::text[], $2::bigint[]) AS held (resource, token)
WHERE leases.resource = held.resource AND leases.token = held.token AND leases.holder = $3
    AND NOT starts_with(leases.resource, 'member ')
