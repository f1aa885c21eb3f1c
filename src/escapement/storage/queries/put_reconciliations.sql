-- $1 account $2 cause $3 kind[] $4 subject[] $5 ours[] $6 venues[] $7 action[]
INSERT INTO reconciliations (account, cause, kind, subject, ours, venues, action)
SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
