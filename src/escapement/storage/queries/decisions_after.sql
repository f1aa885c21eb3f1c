-- Decisions that were not looked at yet, in the order in which they can be seen.
-- $1 coordinator_id $2 decision_number $3 at most
SELECT decision_id, decision_number, coordinator_id, contract_id, action, direction, confidence, price, known_at, rule,
       words, data_complete, decided_at
FROM decisions
WHERE coordinator_id = $1 AND decision_number > $2
ORDER BY decision_number LIMIT $3
