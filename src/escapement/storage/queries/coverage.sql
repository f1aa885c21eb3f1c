-- What of a contract was observed, as stretches that do not touch.
-- $1 contract_id
SELECT lower(stretch) AS begins_at, upper(stretch) AS ends_at
FROM (SELECT unnest(range_agg(tstzrange(begins_at, ends_at))) AS stretch FROM coverage WHERE contract_id = $1) AS stretches
ORDER BY 1
