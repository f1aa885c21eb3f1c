-- $1 killed $2 reason $3 by
WITH turned AS (INSERT INTO kill_switch (killed, reason, by) VALUES ($1, $2, $3))
SELECT pg_notify('kill_switch', '')
