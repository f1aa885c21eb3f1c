-- The chunks of ohlc_bars, their size, and what they were before compression (0 where none is compressed).
SELECT count(*) AS chunks, count(*) FILTER (WHERE is_compressed) AS compressed_chunks, min(range_start) AS first,
       max(range_end) AS last, hypertable_size('ohlc_bars') AS bytes,
       (
           SELECT extract(epoch FROM time_interval)::float8 / 86400 FROM timescaledb_information.dimensions
           WHERE hypertable_schema = current_schema() AND hypertable_name = 'ohlc_bars' AND dimension_number = 1
       ) AS chunk_days,
       CASE WHEN count(*) FILTER (WHERE is_compressed) = 0 THEN 0 ELSE (  -- not every edition can say
           SELECT coalesce(sum(before_compression_total_bytes), 0)::bigint FROM hypertable_compression_stats('ohlc_bars')
       ) END AS before_bytes,
       CASE WHEN count(*) FILTER (WHERE is_compressed) = 0 THEN 0 ELSE (
           SELECT coalesce(sum(after_compression_total_bytes), 0)::bigint FROM hypertable_compression_stats('ohlc_bars')
       ) END AS after_bytes
FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema() AND hypertable_name = 'ohlc_bars'
