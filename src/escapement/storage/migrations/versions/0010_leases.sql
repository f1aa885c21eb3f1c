-- Who may write and trade what. resource: such as 'ingest CON.F.US.MES.Z26' or 'execute ACCOUNT'; 'member SERVICE HOLDER'
-- says that a process takes part, whether it holds anything or not. token grows by one each time the lease is taken, and
-- never shrinks: whoever writes names the one he got. The lease is free from until on, by the clock of the database.
CREATE TABLE leases (
    resource text PRIMARY KEY,
    holder   text NOT NULL,
    token    bigint NOT NULL,
    since    timestamptz NOT NULL,
    until    timestamptz NOT NULL
);

-- The state of ingestion was one row for all contracts; each may be another process's from now on.
INSERT INTO stage_states (name, state, saved_at)
SELECT 'ingest ' || contract.key,
       jsonb_set(kept.state, '{aggregator,contracts}', jsonb_build_object(contract.key, contract.value)),
       kept.saved_at
FROM stage_states AS kept, jsonb_each(kept.state #> '{aggregator,contracts}') AS contract
WHERE kept.name = 'ingest' AND jsonb_typeof(kept.state #> '{aggregator,contracts}') = 'object'
ON CONFLICT (name) DO NOTHING;
DELETE FROM stage_states WHERE name = 'ingest';
