-- Ring the bell of each series that has staged bars.
SELECT pg_notify('ohlc_bars', name)
FROM (
    SELECT DISTINCT
        contract_id || ' ' || timeframe_value || (ARRAY['s', 'm', 'h', 'd', 'w', 'mo'])[timeframe_unit] AS name
    FROM staged_bars
) AS series
