-- What a coordinator heard last of each contract.
-- $1 coordinator_id
SELECT contract_id, coordinated_to, state::text AS state FROM coordinator_watermarks
WHERE coordinator_id = $1 ORDER BY contract_id
