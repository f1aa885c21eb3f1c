-- $1 days that bars stay
SELECT add_job('drop_old_bars', interval '1 day', config => jsonb_build_object('keep_days', $1::integer))
