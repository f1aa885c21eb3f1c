-- The newest decisions, oldest of them first.
-- $1 contract_id[] $2 action[], null for all $3 known from $4 known to, null for all $5 at most
-- $6 the beginning of decision_id $7 coordinator_id $8 rule, null for all
SELECT * FROM (
    SELECT decision_id, decision_number, coordinator_id, contract_id, action, direction, confidence, price, known_at,
           rule, words, data_complete, decided_at
    FROM decisions
    WHERE ($1::text[] IS NULL OR contract_id = ANY ($1)) AND ($2::text[] IS NULL OR action = ANY ($2))
      AND ($3::timestamptz IS NULL OR known_at >= $3) AND ($4::timestamptz IS NULL OR known_at < $4)
      AND ($6::text IS NULL OR starts_with(decision_id, $6))
      AND ($7::text IS NULL OR coordinator_id = $7) AND ($8::text IS NULL OR rule = $8)
    ORDER BY decision_number DESC LIMIT $5
) AS newest
ORDER BY decision_number
