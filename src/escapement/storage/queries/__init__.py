"""The SQL this program sends, a file each."""

from importlib import resources


def load(name: str) -> str:
    """Return the text of ``name``.sql."""
    return resources.files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
