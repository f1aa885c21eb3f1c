-- The newest checks, oldest of them first.
-- $1 account, null for all $2 only refusals $3 at most $4 the beginning of decision_id, null for all
SELECT * FROM (
    SELECT check_id, account, decision_id, contract_id, at, size, approved, code, words, checks::text
    FROM risk_checks
    WHERE ($1::text IS NULL OR account = $1) AND (NOT $2 OR NOT approved)
      AND ($4::text IS NULL OR starts_with(decision_id, $4))
    ORDER BY check_id DESC LIMIT $3
) AS newest
ORDER BY check_id
