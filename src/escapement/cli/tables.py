"""Tables for people: fitted to a terminal, whole in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under column names; whole numbers stand to the right, with thousands set apart."""
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(columns):
        is_number = all(isinstance(row[index], int) for row in rows)
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number)
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row))
    console = Console(markup=False, highlight=False)
    # A pipe has no width, so there nothing is cut.
    (console if console.is_terminal else Console(width=1_000, markup=False)).print(table)
