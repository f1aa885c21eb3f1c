-- The newest differences, oldest of them first.
-- $1 account, null for all $2 at most
SELECT * FROM (
    SELECT reconciliation_id, account, at, cause, kind, subject, ours, venues, action
    FROM reconciliations WHERE $1::text IS NULL OR account = $1
    ORDER BY reconciliation_id DESC LIMIT $2
) AS newest
ORDER BY reconciliation_id
