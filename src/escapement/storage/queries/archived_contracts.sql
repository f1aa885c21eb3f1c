-- The contracts of which there is market data, and how many rows.
SELECT contract_id, sum(rows)::bigint AS rows
FROM (
    SELECT contract_id, count(*) AS rows FROM ohlc_bars GROUP BY 1
    UNION ALL SELECT contract_id, count(*) FROM bar_revisions GROUP BY 1
    UNION ALL SELECT contract_id, count(*) FROM coverage GROUP BY 1
    UNION ALL SELECT contract_id, count(*) FROM data_gaps GROUP BY 1
    UNION ALL SELECT contract_id, count(*) FROM trading_periods GROUP BY 1
    UNION ALL SELECT contract_id, count(*) FROM tracked_series GROUP BY 1
) AS counted
GROUP BY 1
