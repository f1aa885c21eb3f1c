-- Take note of a coordinator of a contract that was not there yet.
-- $1 coordinator_id $2 contract_id
INSERT INTO coordinator_watermarks (coordinator_id, contract_id, last_processed_signal_id) VALUES ($1, $2, 0)
ON CONFLICT (coordinator_id, contract_id) DO NOTHING
