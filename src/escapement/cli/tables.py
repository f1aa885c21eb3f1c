"""Tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, wrapped: str | None = None) -> None:
    """Print rows under column names; whole numbers stand to the right, with thousands set apart.

    Nothing is ever cut. Where the terminal is too narrow, the column called ``wrapped`` is broken into lines, and what
    still does not fit is left to the terminal.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(columns):
        is_number = all(isinstance(row[index], int) for row in rows)
        table.add_column(name, justify="right" if is_number else "left", no_wrap=name != wrapped)
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row))
    console = Console(markup=False, highlight=False)
    least, most = Measurement.get(console, console.options.update(max_width=10_000), table)
    console.width = max(console.width, least) if console.is_terminal else most
    console.print(table)


def size_text(amount: float) -> str:
    """Write a number of bytes for people, such as ``12.3 MB``."""
    units = ["bytes", "kB", "MB", "GB"]
    while amount >= 1_000 and len(units) > 1:
        amount /= 1_000
        units.pop(0)
    return f"{amount:,.0f} bytes" if len(units) == 4 else f"{amount:,.1f} {units[0]}"
