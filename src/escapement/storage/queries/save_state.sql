-- $1 name $2 state
INSERT INTO stage_states (name, state) VALUES ($1, $2::text::jsonb)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, saved_at = now()
