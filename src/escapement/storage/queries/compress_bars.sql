-- Let chunks of ohlc_bars be compressed: a series together, in the order in which it is read.
ALTER TABLE ohlc_bars SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'contract_id, timeframe_unit, timeframe_value',
    timescaledb.compress_orderby = 'timestamp'
)
