-- $1 days after which a chunk is compressed
SELECT add_compression_policy('ohlc_bars', compress_after => make_interval(days => $1))
