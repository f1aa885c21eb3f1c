-- How long each stage took for what it stored in [$1, $2), counted in buckets with the lower bounds $3, seconds.
-- What was found in bars that had been there for long, as after a rebuild, is no lag.
SELECT stage, width_bucket(lag_s, $3::float8[]) AS bucket, count(*) AS value, sum(lag_s) AS sum_s
FROM (
    SELECT 'bar_to_signal' AS stage, extract(epoch FROM stored_at - known_at)::float8 AS lag_s
    FROM detected_signals
    WHERE stored_at >= $1 AND stored_at < $2 AND known_at BETWEEN stored_at - interval '10 minutes' AND stored_at
    UNION ALL
    SELECT 'signal_to_decision', extract(epoch FROM decision.decided_at - max(signal.stored_at))::float8
    FROM decisions AS decision
    JOIN decision_signals USING (decision_id)
    JOIN detected_signals AS signal USING (signal_id)
    WHERE decision.decided_at >= $1 AND decision.decided_at < $2
    GROUP BY decision.decision_id, decision.decided_at
    UNION ALL
    SELECT 'decision_to_order', extract(epoch FROM placed.accepted_at - decision.decided_at)::float8
    FROM orders AS placed JOIN decisions AS decision USING (decision_id)
    WHERE placed.updated_at >= $1 AND placed.accepted_at >= $1 AND placed.accepted_at < $2 AND placed.role = 'entry'
) AS taken
GROUP BY stage, bucket
