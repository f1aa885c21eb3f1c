-- $1 who $2 address $3 act $4 subject $5 outcome
INSERT INTO audit_log (who, address, act, subject, outcome) VALUES ($1, $2, $3, $4, $5)
