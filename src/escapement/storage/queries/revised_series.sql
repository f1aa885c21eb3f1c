-- The series with revisions above $1, and the newest revision.
SELECT contract_id, timeframe_unit, timeframe_value, max(revision_id) AS newest
FROM bar_revisions WHERE revision_id > $1 GROUP BY 1, 2, 3
