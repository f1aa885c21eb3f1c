"""What is known of each interval."""

from escapement.storage.migrations.sql import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the view."""
    run_sql("0003_completeness.sql")
