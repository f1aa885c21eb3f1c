-- What a stage saved of itself, and when.
-- $1 name
SELECT state::text AS state, saved_at FROM stage_states WHERE name = $1
