-- From when to when anything of a contract was observed.
-- $1 contract_id
SELECT min(begins_at) AS begins_at, max(ends_at) AS ends_at FROM coverage WHERE contract_id = $1
