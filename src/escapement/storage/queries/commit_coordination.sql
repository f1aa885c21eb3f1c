-- Store where a coordinator stands now, unless another moved it meanwhile, with what it decided and noted; a decision or
-- note that is there already stays. Returns whether it was still at that step.
-- $1 coordinator_id $2 contract_id $3 step $4 last_processed_signal_id $5 coordinated_to $6 state
-- Decisions, in the order in which they were taken: $7 decision_id[] $8 action[] $9 direction[] $10 confidence[]
-- $11 price[] $12 known_at[] $13 rule[] $14 words[] $15 data_complete[]
-- Their signals: $16 decision_id[] $17 signal_id[]
-- Notes: $18 signal_id[] $19 known_at[] $20 verdicts[] $21 decision_id[]
WITH moved AS (
    UPDATE coordinator_watermarks
    SET last_processed_signal_id = $4, coordinated_to = $5, state = $6::text::json, step = step + 1,
        updated_at = clock_timestamp()
    WHERE coordinator_id = $1 AND contract_id = $2 AND step = $3
    RETURNING coordinator_id, contract_id
),
decided AS (
    INSERT INTO decisions (decision_id, coordinator_id, contract_id, action, direction, confidence, price, known_at,
                           rule, words, data_complete)
    SELECT given.decision_id, moved.coordinator_id, moved.contract_id, given.action, given.direction, given.confidence,
           given.price, given.known_at, given.rule, given.words, given.data_complete
    FROM moved
    CROSS JOIN unnest($7::text[], $8::text[], $9::smallint[], $10::float8[], $11::float8[], $12::timestamptz[],
                      $13::text[], $14::text[], $15::boolean[]) WITH ORDINALITY
        AS given (decision_id, action, direction, confidence, price, known_at, rule, words, data_complete, place)
    ORDER BY given.place
    ON CONFLICT (decision_id) DO NOTHING
    RETURNING decision_id
),
reasons AS (
    INSERT INTO decision_signals (decision_id, signal_id)
    SELECT given.decision_id, given.signal_id
    FROM moved CROSS JOIN unnest($16::text[], $17::bigint[]) AS given (decision_id, signal_id)
    ON CONFLICT (decision_id, signal_id) DO NOTHING
),
notes AS (
    INSERT INTO decision_log (coordinator_id, signal_id, contract_id, known_at, verdicts, decision_id)
    SELECT moved.coordinator_id, given.signal_id, moved.contract_id, given.known_at, given.verdicts::jsonb,
           given.decision_id
    FROM moved
    CROSS JOIN unnest($18::bigint[], $19::timestamptz[], $20::text[], $21::text[])
        AS given (signal_id, known_at, verdicts, decision_id)
    ON CONFLICT (coordinator_id, signal_id) DO NOTHING
),
rung AS (SELECT pg_notify('decisions', $2) WHERE EXISTS (SELECT FROM decided))
SELECT EXISTS (SELECT FROM moved) AS moved, (SELECT count(*) FROM rung) AS rung
