-- How much is known of the intervals of one series that lie within a stretch, and which ones are not.
-- $1 contract_id $2 unit $3 value $4 from $5 to
SELECT trade_date, count(*) AS expected,
       count(*) FILTER (WHERE state = 'live') AS live, count(*) FILTER (WHERE state = 'history') AS history,
       count(*) FILTER (WHERE state = 'empty') AS empty, count(*) FILTER (WHERE state = 'unknown') AS unknown,
       range_agg(tstzrange(begins_at, ends_at)) FILTER (WHERE state = 'unknown') AS stretches
FROM completeness_of($1, $2, $3, $4, $5)
GROUP BY trade_date ORDER BY trade_date
