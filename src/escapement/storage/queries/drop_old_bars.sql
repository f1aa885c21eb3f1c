-- Drop the chunks whose bars are all older than keep_days of config, and with them what is known of that time: where bars
-- were dropped, no bar must not mean that nothing traded. Signals, decisions and orders stay. For TimescaleDB's scheduler.
CREATE OR REPLACE PROCEDURE drop_old_bars(job_id integer, config jsonb) LANGUAGE plpgsql AS $$
DECLARE
    horizon timestamptz;
BEGIN
    SELECT max(range_end) INTO horizon FROM timescaledb_information.chunks
    WHERE hypertable_schema = current_schema() AND hypertable_name = 'ohlc_bars'
      AND range_end <= now() - make_interval(days => (config ->> 'keep_days')::integer);
    IF horizon IS NULL THEN
        RETURN;
    END IF;
    PERFORM drop_chunks('ohlc_bars', older_than => horizon);
    DELETE FROM bar_revisions WHERE timestamp < horizon;
    DELETE FROM data_gaps WHERE ends_at <= horizon;
    DELETE FROM trading_periods WHERE closes_at <= horizon;
    INSERT INTO coverage AS known (contract_id, begins_at, ends_at, source)
    SELECT contract_id, horizon, max(ends_at), source FROM coverage
    WHERE begins_at < horizon AND ends_at > horizon GROUP BY contract_id, source
    ON CONFLICT (contract_id, begins_at, source) DO UPDATE SET ends_at = greatest(known.ends_at, excluded.ends_at);
    DELETE FROM coverage WHERE begins_at < horizon;
END $$
