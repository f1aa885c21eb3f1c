-- Where a coordinator stands with a contract.
-- $1 coordinator_id $2 contract_id
SELECT kept.last_processed_signal_id, kept.coordinated_to, kept.state::text AS state, kept.step,
       (SELECT max(signal_id) FROM detected_signals WHERE contract_id = $2) AS newest_signal_id,
       clock_timestamp() AS now
FROM coordinator_watermarks AS kept WHERE kept.coordinator_id = $1 AND kept.contract_id = $2
