-- Of these instances those whose bars are no longer the ones they read, with the checkpoint before the first difference
-- (null: none is before it). Bars that were dropped at the beginning of a series make no difference.
-- $1 instance_id[] $2 how many of the newest bars to look at, null for all
WITH instance AS (
    SELECT kept.instance_id, kept.contract_id, kept.last_processed_timestamp, kept.bars, kept.revisions,
           kept.first_timestamp, array_position(ARRAY['s', 'm', 'h', 'd', 'w', 'mo'], substring(kept.timeframe from '[a-z]+')) AS unit,
           substring(kept.timeframe from '[0-9]+')::int AS value
    FROM analyzer_watermarks AS kept
    WHERE kept.instance_id = ANY ($1::bigint[]) AND kept.last_processed_timestamp IS NOT NULL
),
mark AS (
    SELECT kept.instance_id, kept.timestamp, kept.bars, kept.revisions
    FROM analyzer_checkpoints AS kept JOIN instance USING (instance_id)
    WHERE kept.timestamp < instance.last_processed_timestamp
    UNION ALL
    SELECT instance_id, last_processed_timestamp, bars, revisions FROM instance
),
segment AS (
    SELECT instance_id, lag(timestamp) OVER each AS after, timestamp AS until,
           bars - coalesce(lag(bars) OVER each, 0) AS bars,
           revisions - coalesce(lag(revisions) OVER each, 0) AS revisions, bars AS bars_until
    FROM mark WINDOW each AS (PARTITION BY instance_id ORDER BY timestamp)
)
SELECT DISTINCT ON (segment.instance_id) segment.instance_id, segment.after
FROM segment JOIN instance USING (instance_id)
LEFT JOIN LATERAL (
    SELECT timestamp FROM ohlc_bars AS bar
    WHERE bar.contract_id = instance.contract_id AND bar.timeframe_unit = instance.unit
      AND bar.timeframe_value = instance.value
    ORDER BY timestamp LIMIT 1
) AS oldest ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS bars, coalesce(sum(bar.revision), 0) AS revisions FROM ohlc_bars AS bar
    WHERE bar.contract_id = instance.contract_id AND bar.timeframe_unit = instance.unit
      AND bar.timeframe_value = instance.value
      AND bar.timestamp > coalesce(segment.after, '-infinity') AND bar.timestamp <= segment.until
) AS found
WHERE ($2::bigint IS NULL OR segment.bars_until > instance.bars - $2)
  AND (found.bars, found.revisions) <> (segment.bars, segment.revisions)
  AND (found.bars >= segment.bars
       OR (oldest.timestamp <= coalesce(segment.after, instance.first_timestamp)) IS TRUE)
ORDER BY segment.instance_id, segment.until
