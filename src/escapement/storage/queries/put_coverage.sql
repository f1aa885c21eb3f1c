-- Take note of observed stretches; one that began at the same moment grows.
-- $1 contract_id[] $2 begins_at[] $3 ends_at[] $4 source[]
INSERT INTO coverage AS known (contract_id, begins_at, ends_at, source)
SELECT contract_id, begins_at, max(ends_at), source
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[]) AS given (contract_id, begins_at, ends_at, source)
WHERE begins_at < ends_at GROUP BY 1, 2, 4
ON CONFLICT (contract_id, begins_at, source) DO UPDATE SET ends_at = excluded.ends_at
WHERE known.ends_at < excluded.ends_at
