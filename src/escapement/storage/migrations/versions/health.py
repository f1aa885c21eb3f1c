"""How services are."""

from escapement.storage.migrations.sql import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table of service health."""
    run_sql("0005_health.sql")
