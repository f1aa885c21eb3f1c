-- Where COPY puts a large batch before it is merged; empty after every transaction.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_bars (LIKE ohlc_bars INCLUDING DEFAULTS) ON COMMIT DELETE ROWS
