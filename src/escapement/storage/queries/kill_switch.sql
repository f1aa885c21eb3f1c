-- Whether all trading is stopped, and why.
SELECT killed, reason, by, at FROM kill_switch ORDER BY switch_id DESC LIMIT 1
