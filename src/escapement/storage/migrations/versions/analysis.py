"""Signals, and how far each analyzer has got."""

from escapement.storage.migrations.sql import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add what the service needs to the tables of the first step."""
    run_sql("0004_analysis.sql")
