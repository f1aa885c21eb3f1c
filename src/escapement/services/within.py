"""Waiting for no longer than one wants, also for what takes its time to be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")
_ending: set[asyncio.Future[Any]] = set()


async def within(longest_s: float, work: Awaitable[T]) -> T:
    """Return what ``work`` returns; after ``longest_s`` seconds it is cancelled and left to end by itself.

    ``asyncio.timeout`` waits for that end, and to cancel a query of a server that has fallen silent takes as long as
    any statement may take.

    Raises:
        TimeoutError: it is not done.
    """
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({working}, timeout=longest_s)
        if not working.done():
            raise TimeoutError(f"not done within {longest_s:g} s")
    finally:
        if not working.done():
            _ending.add(working)
            working.add_done_callback(_forget)
            working.cancel()
    return working.result()


def _forget(ended: asyncio.Future[Any]) -> None:
    _ending.discard(ended)
    if not ended.cancelled():
        ended.exception()  # nobody asks for it any more
