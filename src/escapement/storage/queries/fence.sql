-- How many of these leases are still the holder's; nobody can take one before this transaction has ended.
-- $1 resource[] $2 token[] $3 holder $4 most milliseconds that the transaction may wait for its client, as text
-- $5 most milliseconds that it may take, as text: a client that freezes between two messages of one query is not idle.
-- PostgreSQL knows that from 17 on.
WITH bound AS (
    SELECT set_config('idle_in_transaction_session_timeout', $4, true) AS ms,
           CASE WHEN current_setting('server_version_num')::integer >= 170000
                THEN set_config('transaction_timeout', $5, true) END AS most
),
mine AS (
    SELECT kept.resource FROM leases AS kept
    JOIN unnest($1::text[], $2::bigint[]) AS held (resource, token)
        ON kept.resource = held.resource AND kept.token = held.token
    WHERE kept.holder = $3
    ORDER BY kept.resource
    FOR SHARE OF kept
)
SELECT (SELECT count(*) FROM mine) AS held, ms, most FROM bound
