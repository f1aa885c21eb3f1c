-- How many of these leases are still the holder's; nobody can take one before this transaction has ended.
-- $1 resource[] $2 token[] $3 holder $4 most milliseconds that the transaction may wait for its client, as text
WITH bound AS (SELECT set_config('idle_in_transaction_session_timeout', $4, true) AS ms),
mine AS (
    SELECT kept.resource FROM leases AS kept
    JOIN unnest($1::text[], $2::bigint[]) AS held (resource, token)
        ON kept.resource = held.resource AND kept.token = held.token
    WHERE kept.holder = $3
    ORDER BY kept.resource
    FOR SHARE OF kept
)
SELECT (SELECT count(*) FROM mine) AS held, ms FROM bound
