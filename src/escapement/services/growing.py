"""Telling whoever looks of the bars that are growing, now and then; nothing hangs on it and nothing is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from escapement.errors import StorageError
from escapement.model import FormingBar, Timeframe
from escapement.services.ingest import Ingestion

log = structlog.get_logger(service="ingest")

_EVERY_S = 0.5


async def tell_of_growing_bars(
    ingestion: Ingestion,
    contracts: Sequence[str],
    timeframes: Sequence[Timeframe],
    tell: Callable[[str, Sequence[FormingBar]], Awaitable[None]],
    *,
    every_s: float = _EVERY_S,
) -> None:
    """Call ``tell`` with a contract's growing bars whenever something traded, at most every ``every_s`` seconds."""
    told: dict[str, Sequence[FormingBar]] = {}
    while True:
        await asyncio.sleep(every_s)
        for contract_id in contracts:
            bars = [each for each in (ingestion.forming(contract_id, name) for name in timeframes) if each is not None]
            if not bars or bars == told.get(contract_id):
                continue
            try:
                await tell(contract_id, bars)
                told[contract_id] = bars
            except StorageError as error:
                log.debug("growing_untold", contract=contract_id, reason=str(error))
