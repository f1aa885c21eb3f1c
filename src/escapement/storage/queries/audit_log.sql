-- The newest acts, newest first.
-- $1 at most
SELECT audit_id, at, who, address, act, subject, outcome FROM audit_log ORDER BY audit_id DESC LIMIT $1
