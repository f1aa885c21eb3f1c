-- Signals that hold: those of moments after $3 up to $4, and of earlier moments at most $7 whose number is above $5.
-- price is the close of the trigger bar.
-- $1 contract_id $2 instance_id[] $3 weighed up to $4 weigh up to $5 last_processed_signal_id $6 newest number
WITH chosen AS (
    SELECT *, false AS late FROM detected_signals
    WHERE contract_id = $1 AND instance_id = ANY ($2::bigint[]) AND superseded_at IS NULL
      AND known_at > coalesce($3::timestamptz, '-infinity') AND known_at <= $4::timestamptz
    UNION ALL
    (
        SELECT *, true FROM detected_signals
        WHERE contract_id = $1 AND instance_id = ANY ($2::bigint[]) AND superseded_at IS NULL
          AND known_at <= $3::timestamptz AND signal_id > $5::bigint AND signal_id <= $6::bigint
        ORDER BY signal_id LIMIT $7
    )
)
SELECT chosen.signal_id, chosen.analyzer_id, chosen.analyzer_version, chosen.params, chosen.contract_id,
       chosen.timeframe, chosen.signal_type, chosen.timestamp, chosen.trigger_timestamp, chosen.known_at,
       chosen.signal_price, chosen.rule, chosen.late, coalesce(bar.close, chosen.signal_price) AS price
FROM chosen
LEFT JOIN ohlc_bars AS bar
       ON bar.contract_id = chosen.contract_id AND bar.timestamp = chosen.trigger_timestamp
      AND bar.timeframe_unit = array_position(ARRAY['s', 'm', 'h', 'd', 'w', 'mo'], substring(chosen.timeframe from '[a-z]+'))
      AND bar.timeframe_value = substring(chosen.timeframe from '[0-9]+')::int
ORDER BY chosen.late DESC, chosen.known_at, chosen.signal_id
