"""How far something long is, on a terminal as a bar, elsewhere as one line at its beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def shown_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told how much of how much is done; nothing is shown before its first call."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    task: TaskID | None = None
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def show(done: int, of: int) -> None:
            nonlocal task
            if task is None:
                task = progress.add_task(what, total=of)
                if not console.is_terminal:
                    console.print(f"{what} ...")
            progress.update(task, completed=done, total=of)

        yield show
