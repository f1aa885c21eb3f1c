-- The chunks of ohlc_bars, their size, and what they were before compression (0 where none is compressed).
SELECT count(*) AS chunks, count(*) FILTER (WHERE is_compressed) AS compressed_chunks, min(range_start) AS first,
       max(range_end) AS last, hypertable_size('ohlc_bars') AS bytes,
       (
           SELECT extract(epoch FROM time_interval)::float8 / 86400 FROM timescaledb_information.dimensions
           WHERE hypertable_schema = current_schema() AND hypertable_name = 'ohlc_bars' AND dimension_number = 1
       ) AS chunk_days,
       (
           SELECT coalesce(sum(before_compression_total_bytes), 0)::bigint FROM hypertable_compression_stats('ohlc_bars')
       ) AS before_bytes,
       (
           SELECT coalesce(sum(after_compression_total_bytes), 0)::bigint FROM hypertable_compression_stats('ohlc_bars')
       ) AS after_bytes
FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema() AND hypertable_name = 'ohlc_bars'
