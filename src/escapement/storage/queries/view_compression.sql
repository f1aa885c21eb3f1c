-- What compressed chunks take, and took before.
-- $1 table
SELECT before_compression_total_bytes AS uncompressed_bytes, after_compression_total_bytes AS compressed_bytes
FROM hypertable_compression_stats($1::text::regclass)
