-- Take note of gaps as they stand; one that was closed and is found again opens again.
-- $1 contract_id[] $2 begins_at[] $3 ends_at[] $4 cause[] $5 detail[]
INSERT INTO data_gaps AS known (contract_id, begins_at, ends_at, cause, detail)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[])
ON CONFLICT (contract_id, begins_at, cause) DO UPDATE SET
    ends_at = greatest(known.ends_at, excluded.ends_at), state = 'open', closed_at = NULL
