-- Tell whoever looks of the bars of a contract that are growing; nothing is stored.
-- $1 what is told, as JSON
SELECT pg_notify('forming_bars', $1)
