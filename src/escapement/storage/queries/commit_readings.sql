-- Store what instances found in the bars they read, where they stand now, and checkpoints, of those instances that
-- nobody else moved meanwhile. In the stretch that was read, signals that were not found again are superseded.
-- $1 instance_id[] $2 step[] $3 judged after[], null from the beginning on $4 at[] $5 first[] $6 bars[] $7 revisions[]
-- $8 state[]
-- Checkpoints: $9 instance_id[] $10 timestamp[] $11 bars[] $12 revisions[] $13 state[]
-- Signals, in the order in which they became known: $14 instance_id[] $15 timestamp[] $16 trigger_timestamp[]
-- $17 known_at[] $18 signal_type[] $19 price[] $20 rule[] $21 trigger_whole[]
-- Of checkpoints more than $22 bars back only those at multiples of $23 bars stay.
WITH given AS (
    SELECT * FROM unnest(
        $1::bigint[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::bigint[], $7::bigint[],
        $8::text[]
    ) AS reading (instance_id, step, judged_after, at, first, bars, revisions, state)
),
moved AS (
    UPDATE analyzer_watermarks AS kept
    SET last_processed_timestamp = given.at, first_timestamp = least(kept.first_timestamp, given.first),
        bars = given.bars, revisions = given.revisions, state = given.state::json, step = kept.step + 1, fault = '',
        updated_at = clock_timestamp()
    FROM given
    WHERE kept.instance_id = given.instance_id AND kept.step = given.step
    RETURNING kept.instance_id, kept.analyzer_id, kept.analyzer_version, kept.params, kept.contract_id, kept.timeframe,
              kept.last_processed_timestamp, kept.bars, given.judged_after
),
marks AS (
    INSERT INTO analyzer_checkpoints AS kept (instance_id, timestamp, bars, revisions, state)
    SELECT mark.instance_id, mark.timestamp, mark.bars, mark.revisions, mark.state::json
    FROM unnest($9::bigint[], $10::timestamptz[], $11::bigint[], $12::bigint[], $13::text[])
        AS mark (instance_id, timestamp, bars, revisions, state)
    JOIN moved USING (instance_id)
    ON CONFLICT (instance_id, timestamp) DO UPDATE
        SET bars = excluded.bars, revisions = excluded.revisions, state = excluded.state
),
thinned AS (
    DELETE FROM analyzer_checkpoints AS kept USING moved
    WHERE kept.instance_id = moved.instance_id AND kept.instance_id = ANY ($9::bigint[])
      AND kept.bars < moved.bars - $22::bigint AND kept.bars % $23::bigint <> 0
),
found AS (
    SELECT moved.instance_id, moved.analyzer_id, moved.analyzer_version, moved.params, moved.contract_id,
           moved.timeframe, signal.place, signal.timestamp, signal.trigger_timestamp, signal.known_at,
           signal.signal_type, signal.signal_price, signal.rule, signal.trigger_whole
    FROM unnest($14::bigint[], $15::timestamptz[], $16::timestamptz[], $17::timestamptz[], $18::text[], $19::float8[],
                $20::text[], $21::bool[])
        WITH ORDINALITY AS signal (instance_id, timestamp, trigger_timestamp, known_at, signal_type, signal_price, rule,
                                   trigger_whole, place)
    JOIN moved USING (instance_id)
),
gone AS (
    UPDATE detected_signals AS stored SET superseded_at = clock_timestamp()
    FROM moved
    WHERE stored.instance_id = moved.instance_id AND stored.superseded_at IS NULL
      AND stored.trigger_timestamp > coalesce(moved.judged_after, '-infinity')
      AND stored.trigger_timestamp <= moved.last_processed_timestamp
      AND NOT EXISTS (
          SELECT FROM found
          WHERE (found.instance_id, found.trigger_timestamp, found.timestamp, found.signal_type, found.rule,
                 found.signal_price)
              = (stored.instance_id, stored.trigger_timestamp, stored.timestamp, stored.signal_type, stored.rule,
                 stored.signal_price)
      )
    RETURNING stored.signal_id, stored.contract_id, stored.timeframe
),
added AS (
    INSERT INTO detected_signals
        (instance_id, analyzer_id, analyzer_version, params, contract_id, timeframe, timestamp, trigger_timestamp,
         known_at, signal_type, signal_price, rule, trigger_whole)
    SELECT instance_id, analyzer_id, analyzer_version, params, contract_id, timeframe, timestamp, trigger_timestamp,
           known_at, signal_type, signal_price, rule, trigger_whole
    FROM found ORDER BY place
    ON CONFLICT (instance_id, trigger_timestamp, timestamp, signal_type, rule, signal_price)
        WHERE superseded_at IS NULL DO NOTHING
    RETURNING contract_id, timeframe
),
rung AS (
    SELECT pg_notify('detected_signals', name)
    FROM (
        SELECT contract_id || ' ' || timeframe AS name FROM added
        UNION SELECT contract_id || ' ' || timeframe FROM gone
    ) AS series
)
SELECT ARRAY(SELECT instance_id FROM moved) AS moved, (SELECT count(*) FROM added) AS added,
       ARRAY(SELECT signal_id FROM gone) AS gone, (SELECT count(*) FROM rung) AS rung
