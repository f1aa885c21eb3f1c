-- Of the instances that said what a coordinator heard last ($1 coordinator_id $2 contract_id), those of which that no
-- longer holds: what each said last of what holds, or nothing.
WITH heard AS (
    SELECT (voice -> 'last' ->> 'signal_id')::bigint AS signal_id, kept.coordinated_to
    FROM coordinator_watermarks AS kept, json_array_elements(kept.state -> 'voices') AS voice
    WHERE kept.coordinator_id = $1 AND kept.contract_id = $2
),
gone AS (
    SELECT DISTINCT said.instance_id, said.analyzer_id, said.analyzer_version, said.params, said.contract_id,
           said.timeframe, heard.coordinated_to
    FROM heard JOIN detected_signals AS said USING (signal_id) WHERE said.superseded_at IS NOT NULL
)
SELECT gone.analyzer_id, gone.analyzer_version, gone.params, gone.contract_id, gone.timeframe, held.signal_id,
       held.signal_type, held.timestamp, held.trigger_timestamp, held.known_at, held.signal_price, held.rule,
       coalesce(bar.close, held.signal_price) AS price
FROM gone
LEFT JOIN LATERAL (
    SELECT max(known_at) AS known_at FROM detected_signals AS other
    WHERE other.instance_id = gone.instance_id AND other.superseded_at IS NULL
      AND other.known_at <= gone.coordinated_to
) AS last ON true
LEFT JOIN detected_signals AS held
       ON held.instance_id = gone.instance_id AND held.known_at = last.known_at AND held.superseded_at IS NULL
LEFT JOIN ohlc_bars AS bar
       ON bar.contract_id = held.contract_id AND bar.timestamp = held.trigger_timestamp
      AND bar.timeframe_unit = array_position(ARRAY['s', 'm', 'h', 'd', 'w', 'mo'], substring(held.timeframe from '[a-z]+'))
      AND bar.timeframe_value = substring(held.timeframe from '[0-9]+')::int
