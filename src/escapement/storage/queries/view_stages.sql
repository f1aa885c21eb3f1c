-- How far each stage has got, and how far that is behind what is there for it.
SELECT 'ingest' AS stage, series.contract_id, series.timeframe_unit, series.timeframe_value, last.ends_at AS at,
       NULL::timestamptz AS newest, '' AS fault
FROM tracked_series AS series
JOIN LATERAL (
    SELECT ends_at FROM ohlc_bars AS bar
    WHERE (bar.contract_id, bar.timeframe_unit, bar.timeframe_value)
        = (series.contract_id, series.timeframe_unit, series.timeframe_value)
    ORDER BY timestamp DESC LIMIT 1
) AS last ON true
UNION ALL
SELECT 'analyze: ' || kept.analyzer_id, kept.contract_id, frame.unit, frame.value, kept.last_processed_timestamp,
       last.timestamp, kept.fault
FROM analyzer_watermarks AS kept
CROSS JOIN LATERAL (
    SELECT array_position(ARRAY['s', 'm', 'h', 'd', 'w', 'mo'], substring(kept.timeframe from '[a-z]+')) AS unit,
           substring(kept.timeframe from '[0-9]+')::int AS value
) AS frame
LEFT JOIN LATERAL (
    SELECT bar.timestamp FROM ohlc_bars AS bar
    WHERE (bar.contract_id, bar.timeframe_unit, bar.timeframe_value) = (kept.contract_id, frame.unit, frame.value)
    ORDER BY bar.timestamp DESC LIMIT 1
) AS last ON true
UNION ALL
SELECT 'coordinate: ' || kept.coordinator_id, kept.contract_id, NULL, NULL, kept.coordinated_to,
       (SELECT max(known_at) FROM detected_signals AS said
        WHERE said.contract_id = kept.contract_id AND said.superseded_at IS NULL), ''
FROM coordinator_watermarks AS kept
UNION ALL
SELECT 'execute: ' || kept.account, '', NULL, NULL, looked.known_at,
       (SELECT known_at FROM decisions ORDER BY decision_number DESC LIMIT 1), kept.blocked
FROM execution_accounts AS kept
LEFT JOIN decisions AS looked ON looked.decision_number = kept.last_decision_number
ORDER BY 1, 2, 3, 4
