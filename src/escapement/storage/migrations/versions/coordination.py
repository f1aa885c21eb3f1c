"""Decisions, their reasons, and how far each coordinator has got."""

from escapement.storage.migrations.sql import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables of the coordinator."""
    run_sql("0006_coordination.sql")
