-- Every lease whose resource begins with a text. $1 prefixes[]
SELECT resource, holder, token, since, until, until > clock_timestamp() AS is_held
FROM leases
WHERE EXISTS (SELECT FROM unnest($1::text[]) AS prefix WHERE starts_with(resource, prefix))
ORDER BY resource
