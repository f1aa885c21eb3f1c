"""Analyzers that need much computing, in processes of their own.

A worker holds nothing between two calls: the state goes there and comes back with the bars' signals, and only what the
service has committed counts. A worker that dies costs the call, which is made again with another one.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from types import TracebackType
from typing import Self

import structlog

from escapement.analyzers import find_analyzer
from escapement.core.analysis import Progress, Reading, StoredBar, read_on, restore
from escapement.errors import AnalyzerFault, ConfigurationError

log = structlog.get_logger(service="analyze")

_ATTEMPTS = 3
_BUSY_S = 60


class Workers:
    """A pool of processes that read bars with analyzers; use it with ``async with``."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            processes = list(self._pool._processes.values())  # noqa: SLF001 - before Python 3.14 the only way to end them
            for process in processes:
                process.terminate()  # they hold nothing that counts, and may be stuck
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def read_on(
        self, named: str, params: Mapping[str, object], since: Progress, bars: Sequence[StoredBar], checkpoint_bars: int
    ) -> Reading:
        """Read bars with the analyzer of that name or file, from where it stands.

        Raises:
            AnalyzerFault: the analyzer is at fault, or several workers in a row died of it.
            InvalidInput: its saved state cannot be read.
        """
        for _ in range(_ATTEMPTS):
            pool = self._open()
            try:
                call = pool.submit(_read_on, named, params, since, bars, checkpoint_bars)
                return await self._result(named, asyncio.wrap_future(call))
            except BrokenProcessPool:
                log.warning("worker_died", analyzer=named)
                if self._pool is pool:  # another call may have made a new one already
                    self._pool = None
        raise AnalyzerFault(f"{named}: {_ATTEMPTS} worker processes in a row died while it read; see the system's log")

    @staticmethod
    async def _result(named: str, call: asyncio.Future[Reading]) -> Reading:
        waited_s = 0
        while not (await asyncio.wait([call], timeout=_BUSY_S))[0]:
            waited_s += _BUSY_S
            log.warning("worker_busy", analyzer=named, seconds=waited_s)
        return call.result()

    def _open(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not forked: a copy of this process would hold its sockets and locks.
            self._pool = ProcessPoolExecutor(
                self._processes, mp_context=multiprocessing.get_context("spawn"), initializer=_live_with_parent
            )
        return self._pool


def _live_with_parent() -> None:
    """Leave Ctrl-C to the service, and end when it was killed, which the pool would not notice."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        Thread(target=watch, daemon=True).start()


def _read_on(
    named: str, params: Mapping[str, object], since: Progress, bars: Sequence[StoredBar], checkpoint_bars: int
) -> Reading:
    # Parameters come as plain values: the class of a single file's parameters is not known here before it is loaded.
    try:
        plugin = find_analyzer(named)
        machine = plugin.create(plugin.params(params))
    except ConfigurationError as error:
        raise AnalyzerFault(str(error)) from error
    restore(machine, since)
    return read_on(machine, since, bars, checkpoint_bars)
