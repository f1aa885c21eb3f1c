-- The first and the last bar labelled in a stretch, and how many there are, but no more than $6.
-- $1 contract_id $2 unit $3 value $4 from $5 to (not included)
SELECT (SELECT timestamp FROM ohlc_bars
        WHERE contract_id = $1 AND timeframe_unit = $2 AND timeframe_value = $3 AND timestamp >= $4 AND timestamp < $5
        ORDER BY timestamp LIMIT 1) AS first,
       (SELECT timestamp FROM ohlc_bars
        WHERE contract_id = $1 AND timeframe_unit = $2 AND timeframe_value = $3 AND timestamp >= $4 AND timestamp < $5
        ORDER BY timestamp DESC LIMIT 1) AS last,
       (SELECT count(*) FROM (
            SELECT FROM ohlc_bars
            WHERE contract_id = $1 AND timeframe_unit = $2 AND timeframe_value = $3 AND timestamp >= $4
              AND timestamp < $5
            LIMIT $6
        ) AS found) AS bars
