-- What is known of each interval in which a contract could trade.

-- The intervals of one series by its trading periods, those that lie within [since, until], and what is known of each.
-- Written so that the planner takes it in where it is used, and only the bars of that stretch are read.
CREATE FUNCTION completeness_of(contract text, unit integer, value integer, since timestamptz, until timestamptz)
RETURNS TABLE (trade_date date, "timestamp" timestamptz, begins_at timestamptz, ends_at timestamptz, state text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT found.trade_date, found.timestamp, found.begins_at, found.ends_at,
           CASE WHEN doubtful.stretches && tstzrange(found.begins_at, found.ends_at) THEN 'unknown'
                WHEN found.whole AND found.source = 'live' THEN 'live'
                WHEN found.whole THEN 'history'
                WHEN found.whole IS NOT NULL THEN 'unknown'  -- a bar that lacks trades
                WHEN (known.stretches @> tstzrange(found.begins_at, found.ends_at)) IS NOT TRUE THEN 'unknown'
                WHEN EXISTS (  -- something traded, for smaller bars say so
                    SELECT FROM tracked_series AS other
                    CROSS JOIN LATERAL (
                        SELECT FROM ohlc_bars AS bar
                        WHERE bar.contract_id = contract AND bar.timeframe_unit = other.timeframe_unit
                          AND bar.timeframe_value = other.timeframe_value AND bar.timestamp >= found.begins_at
                          AND bar.timestamp < found.ends_at AND bar.ends_at <= found.ends_at
                        LIMIT 1
                    ) AS inside
                    WHERE other.contract_id = contract AND (other.timeframe_unit, other.timeframe_value) <> (unit, value)
                      AND other.timeframe_value * (ARRAY[1, 60, 3600, 86400, 604800, 2592000])[other.timeframe_unit]
                          <= value * (ARRAY[1, 60, 3600, 86400, 604800, 2592000])[unit]
                ) THEN 'unknown'
                WHEN EXISTS (  -- something traded while this series was not kept, for a larger bar has no part in it
                    SELECT FROM tracked_series AS other
                    CROSS JOIN LATERAL (
                        SELECT bar.timestamp, bar.ends_at FROM ohlc_bars AS bar
                        WHERE bar.contract_id = contract AND bar.timeframe_unit = other.timeframe_unit
                          AND bar.timeframe_value = other.timeframe_value AND bar.timestamp <= found.begins_at
                        ORDER BY bar.timestamp DESC LIMIT 1
                    ) AS around
                    WHERE other.contract_id = contract AND other.timeframe_unit <= 3 AND unit <= 3
                      AND other.timeframe_value * (ARRAY[1, 60, 3600])[other.timeframe_unit]
                          > value * (ARRAY[1, 60, 3600])[unit]
                      AND around.ends_at >= found.ends_at
                      AND NOT EXISTS (
                          SELECT FROM ohlc_bars AS part
                          WHERE part.contract_id = contract AND part.timeframe_unit = unit
                            AND part.timeframe_value = value AND part.timestamp >= around.timestamp
                            AND part.timestamp < around.ends_at
                      )
                ) THEN 'unknown'
                ELSE 'empty'
           END
    FROM (
        SELECT range_agg(tstzrange(seen.begins_at, seen.ends_at)) AS stretches
        FROM coverage AS seen WHERE seen.contract_id = contract
    ) AS known
    CROSS JOIN (
        -- A single late trade makes a gap shorter than a microsecond, whose end is its beginning here.
        SELECT range_agg(tstzrange(
                   gap.begins_at, gap.ends_at, CASE WHEN gap.ends_at = gap.begins_at THEN '[]' ELSE '[)' END
               )) AS stretches
        FROM data_gaps AS gap WHERE gap.contract_id = contract AND gap.state = 'open'
    ) AS doubtful
    CROSS JOIN LATERAL (
        -- Intraday bars are counted from each open, and the last one is cut at the close. Intervals and bars are brought
        -- together by grouping: a join would depend on statistics, which new bars do not have yet.
        SELECT max(either.trade_date) AS trade_date, either.label AS timestamp, either.label AS begins_at,
               max(either.ends_at) AS ends_at, bool_or(either.whole) AS whole, max(either.source) AS source
        FROM (
            SELECT period.trade_date, label, least(label + timeframe.length, period.closes_at) AS ends_at,
                   NULL::boolean AS whole, NULL::text AS source
            FROM (SELECT make_interval(secs => value * (ARRAY[1, 60, 3600])[unit]) AS length) AS timeframe
            JOIN trading_periods AS period ON period.contract_id = contract
            CROSS JOIN LATERAL generate_series(
                period.opens_at, period.closes_at - interval '1 microsecond', timeframe.length) AS label
            WHERE unit <= 3 AND period.closes_at > since AND period.opens_at < until
              AND label >= since AND least(label + timeframe.length, period.closes_at) <= until
            UNION ALL
            SELECT NULL, bar.timestamp, NULL, bar.whole, bar.source
            FROM ohlc_bars AS bar
            WHERE unit <= 3 AND bar.contract_id = contract AND bar.timeframe_unit = unit
              AND bar.timeframe_value = value AND bar.timestamp >= since AND bar.timestamp < until
        ) AS either
        GROUP BY either.label HAVING max(either.ends_at) IS NOT NULL
        UNION ALL
        -- Days, weeks and months reach from their first open to their last close.
        SELECT span.trade_date, span.label, span.begins_at, span.ends_at, bar.whole, bar.source
        FROM (
            SELECT date_trunc((ARRAY['day', 'week', 'month'])[unit - 3], period.trade_date::timestamp)
                       AT TIME ZONE 'UTC' AS label,
                   max(period.trade_date) AS trade_date, min(period.opens_at) AS begins_at,
                   max(period.closes_at) AS ends_at
            FROM trading_periods AS period WHERE unit >= 4 AND period.contract_id = contract GROUP BY 1
        ) AS span
        LEFT JOIN ohlc_bars AS bar
               ON bar.contract_id = contract AND bar.timeframe_unit = unit AND bar.timeframe_value = value
              AND bar.timestamp = span.label
        WHERE span.begins_at >= since AND span.ends_at <= until
    ) AS found;
END;

-- Every interval of the series that are kept. timestamp is the bar's label; trade_date is that of the session in which
-- the interval ends. state: live, history, empty (observed, and nothing traded) or unknown, as is all that an open gap
-- touches.
CREATE VIEW completeness AS
SELECT series.contract_id, series.timeframe_unit, series.timeframe_value, expected.trade_date, expected.timestamp,
       expected.begins_at, expected.ends_at, expected.state
FROM tracked_series AS series
CROSS JOIN LATERAL completeness_of(
    series.contract_id, series.timeframe_unit, series.timeframe_value, '-infinity', 'infinity'
) AS expected;
