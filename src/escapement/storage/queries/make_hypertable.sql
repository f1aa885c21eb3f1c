-- Turn ohlc_bars, filled or not, into a hypertable; its rows are moved and nobody reads or writes it meanwhile.
-- $1 days a chunk
SELECT create_hypertable(
    'ohlc_bars', 'timestamp',
    chunk_time_interval => make_interval(days => $1),
    create_default_indexes => false,
    if_not_exists => true,
    migrate_data => true
)
