-- What went wrong lately, newest first.
-- $1 at most
SELECT at, source, words FROM (
    (SELECT since AS at, 'service ' || service AS source, error AS words FROM service_health WHERE error <> '')
    UNION ALL
    (SELECT updated_at, 'analyzer ' || analyzer_id || ' on ' || contract_id || ' ' || timeframe, fault
     FROM analyzer_watermarks WHERE fault <> '')
    UNION ALL
    (SELECT updated_at, 'order ' || order_key, refusal FROM orders WHERE refusal <> '' ORDER BY updated_at DESC LIMIT $1)
    UNION ALL
    (SELECT at, 'book of ' || account, kind || ' ' || subject || ': ours ' || ours || ', the venue''s ' || venues
                || '; ' || action
     FROM reconciliations ORDER BY reconciliation_id DESC LIMIT $1)
    UNION ALL
    (SELECT begins_at, 'gap of ' || contract_id, cause || CASE WHEN reason = '' THEN '' ELSE ': ' || reason END
     FROM data_gaps WHERE state = 'open' ORDER BY begins_at DESC LIMIT $1)
) AS found
ORDER BY at DESC LIMIT $1
