-- $1 name
SELECT state::text FROM stage_states WHERE name = $1
