-- A year of one contract on six timeframes is about half a million bars, so a month a chunk.
SELECT create_hypertable(
    'ohlc_bars', 'timestamp',
    chunk_time_interval => interval '1 month',
    create_default_indexes => false,
    if_not_exists => true,
    migrate_data => true
);
