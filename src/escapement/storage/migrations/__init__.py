"""The schema's history; each step is a plain SQL file beside its Alembic revision."""
