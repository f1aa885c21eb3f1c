"""PostgreSQL and TimescaleDB: bars, saved state and the embedded server."""
