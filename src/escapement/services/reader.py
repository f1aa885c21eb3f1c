"""Who pushes bars into an analyzer: this process, or a worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from escapement.analyzers import AnalyzerPlugin
from escapement.core.analysis import Analyzer, Progress, Reading, StoredBar, read_on, restore
from escapement.services.workers import Workers


class Reader(Protocol):
    """Reads on with one analyzer; ``is_elsewhere`` says whether that leaves this process free meanwhile."""

    is_elsewhere: bool

    async def read_on(self, since: Progress, bars: Sequence[StoredBar], checkpoint_bars: int) -> Reading:
        """Read the bars after ``since``.

        Raises:
            AnalyzerFault: the analyzer is at fault.
            InvalidInput: the state in ``since`` cannot be read.
        """
        ...

    def forget(self) -> None:
        """Take note that what was read last may not have been committed."""
        ...


class ReaderHere:
    """Reads in this process and keeps the analyzer between two stretches of bars."""

    is_elsewhere = False

    def __init__(self, plugin: AnalyzerPlugin, params: Any) -> None:
        self._plugin = plugin
        self._params = params
        self._machine: tuple[Progress, Analyzer] | None = None

    async def read_on(self, since: Progress, bars: Sequence[StoredBar], checkpoint_bars: int) -> Reading:
        """As the protocol says."""
        await asyncio.sleep(0)  # between two instances others have their turn
        machine = self._at(since)
        self._machine = None
        reading = read_on(machine, since, bars, checkpoint_bars)
        self._machine = reading.progress, machine
        return reading

    def forget(self) -> None:
        """As the protocol says."""
        self._machine = None

    def _at(self, since: Progress) -> Analyzer:
        if self._machine is not None and self._machine[0] == since:
            return self._machine[1]
        machine = self._plugin.create(self._params)
        restore(machine, since)
        return machine


class ReaderInWorker:
    """Reads in a worker process, which gets the state each time; ``named`` is the analyzer's name or file."""

    is_elsewhere = True

    def __init__(self, workers: Workers, named: str, params: Any) -> None:
        self._workers = workers
        self._named = named
        self._params: Mapping[str, object] = asdict(params)

    async def read_on(self, since: Progress, bars: Sequence[StoredBar], checkpoint_bars: int) -> Reading:
        """As the protocol says."""
        return await self._workers.read_on(self._named, self._params, since, bars, checkpoint_bars)

    def forget(self) -> None:
        """As the protocol says; nothing is kept."""
