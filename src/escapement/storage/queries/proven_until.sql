-- Up to when every trade of a contract since some moment is known to be in its bars: observed, without an open gap, or
-- outside of every trading period. Null when nothing of the contract was ever observed.
-- $1 contract_id $2 since, null for the earliest that matters $3 the earliest moment that waits
WITH bound AS (
    SELECT coalesce(
               $2::timestamptz,
               least(min(begins_at), $3::timestamptz,
                     (SELECT min(begins_at) FROM data_gaps WHERE contract_id = $1 AND state = 'open'))
           ) AS since
    FROM coverage WHERE contract_id = $1 HAVING count(*) > 0
),
seen AS (
    SELECT range_agg(tstzrange(begins_at, ends_at)) AS stretches
    FROM coverage, bound WHERE contract_id = $1 AND ends_at >= bound.since
),
doubtful AS (
    SELECT range_agg(tstzrange(begins_at, ends_at, CASE WHEN ends_at = begins_at THEN '[]' ELSE '[)' END)) AS stretches
    FROM data_gaps WHERE contract_id = $1 AND state = 'open'
),
open AS (
    SELECT range_agg(tstzrange(opens_at, closes_at)) AS stretches, min(opens_at) AS begins_at, max(closes_at) AS ends_at
    FROM trading_periods, bound WHERE contract_id = $1 AND closes_at >= bound.since
),
known AS (
    SELECT (coalesce(seen.stretches, '{}') - coalesce(doubtful.stretches, '{}'))
           + CASE WHEN open.stretches IS NULL THEN '{}'
                  ELSE tstzmultirange(tstzrange(least(open.begins_at, bound.since), open.ends_at)) - open.stretches
             END AS stretches
    FROM bound, seen, doubtful, open
)
SELECT coalesce(
    (
        SELECT max(upper(stretch)) FROM known, unnest(known.stretches) AS stretch
        WHERE lower(stretch) <= bound.since AND upper(stretch) >= bound.since
    ),
    bound.since
) AS until
FROM bound
