-- What each stage whose name begins so saved of itself, and when.
-- $1 beginning of the name
SELECT state::text AS state, saved_at FROM stage_states WHERE starts_with(name, $1) ORDER BY name
