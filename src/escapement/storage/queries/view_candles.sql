-- Bars of a stretch merged by so many seconds, counted from 1970, so that the same bars are merged wherever one looks.
-- $1 contract_id $2 unit $3 value $4 from $5 to (not included) $6 seconds
WITH merged AS (
    SELECT date_bin(make_interval(secs => $6), timestamp, '1970-01-01Z') AS bin, min(timestamp) AS first,
           max(timestamp) AS last, max(ends_at) AS ends_at, max(high) AS high, min(low) AS low, sum(volume) AS volume,
           count(*) AS bars, bool_and(whole) AS whole
    FROM ohlc_bars
    WHERE contract_id = $1 AND timeframe_unit = $2 AND timeframe_value = $3 AND timestamp >= $4 AND timestamp < $5
    GROUP BY 1
)
-- Opening and close are looked up one by one: a join depends on statistics, which new bars do not have yet.
SELECT merged.first AS timestamp, merged.ends_at,
       (SELECT bar.open FROM ohlc_bars AS bar
        WHERE bar.contract_id = $1 AND bar.timeframe_unit = $2 AND bar.timeframe_value = $3
          AND bar.timestamp = merged.first) AS open,
       merged.high, merged.low,
       (SELECT bar.close FROM ohlc_bars AS bar
        WHERE bar.contract_id = $1 AND bar.timeframe_unit = $2 AND bar.timeframe_value = $3
          AND bar.timestamp = merged.last) AS close,
       merged.volume::bigint AS volume, merged.bars, merged.whole
FROM merged
ORDER BY merged.first
