"""What ``escapement history download`` keeps: bars, and which stretches of the venue's history they were made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from escapement.errors import StorageError
from escapement.model import Bar, Coverage, SessionCalendar, Timeframe, TimeframeUnit
from escapement.storage import queries
from escapement.storage.database import DBHandler, _columns, _coverage_columns
from escapement.storage.failures import translated

_REVISE = queries.load("revise_bars")
_PUT_COVERAGE = queries.load("put_coverage")
_SAVE_STATE = queries.load("save_state")
_TRACKED = queries.load("tracked_timeframes")


class DownloadStore:
    """The database as a download sees it; every method raises StorageError."""

    def __init__(self, database: DBHandler) -> None:
        self._database = database

    async def prepare(
        self, contract_id: str, timeframes: Sequence[Timeframe], calendar: SessionCalendar, stretch: tuple[int, int]
    ) -> list[Timeframe]:
        """Take note of what will be kept, and when the contract can trade; return every timeframe kept of it."""
        await self._database.track([contract_id], timeframes)
        await self._database.set_periods(contract_id, calendar.sessions_of_whole_months(*stretch))
        with translated():
            rows = await self._database.pool.fetch(_TRACKED, contract_id)
        return [Timeframe(TimeframeUnit(row["timeframe_unit"]), row["timeframe_value"]) for row in rows]

    async def known(self, contract_id: str, asked: Timeframe) -> list[tuple[int, int]]:
        """Return the stretches of which all the venue's bars of timeframe ``asked`` are stored."""
        name = _state_name(contract_id, asked)
        state = await self._database.load_state(name)
        try:
            stretches: Any = state["stretches"] if state else []
            return [(int(begin_ns), int(end_ns)) for begin_ns, end_ns in stretches]
        except (KeyError, TypeError, ValueError):
            raise StorageError(
                f"stage_states: the state of {name!r} cannot be read; delete that row, and the download begins anew"
            ) from None

    async def bars_between(self, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int) -> Sequence[Bar]:
        """Return stored bars whose timestamp lies in ``[from_ns, to_ns)``, oldest first."""
        return await self._database.bars_between(contract_id, timeframe, from_ns, to_ns)

    async def store(
        self,
        contract_id: str,
        asked: Timeframe,
        bars: Sequence[Bar],
        known: Iterable[tuple[int, int]],
        coverage: Sequence[Coverage],
    ) -> int:
        """Store a portion of history and that it is known now, in one transaction; return how many bars were written.

        Args:
            contract_id: whose bars.
            asked: the timeframe that the venue served.
            bars: of any timeframe; those take the place of stored ones that differ.
            known: as ``known`` shall return it.
            coverage: what was observed.
        """
        state: Mapping[str, object] = {"stretches": [list(stretch) for stretch in known]}
        with translated():
            async with self._database.pool.acquire() as connection, connection.transaction():
                written = int(await connection.fetchval(_REVISE, *_columns(bars))) if bars else 0
                if coverage:
                    await connection.execute(_PUT_COVERAGE, *_coverage_columns(coverage))
                await connection.execute(_SAVE_STATE, _state_name(contract_id, asked), orjson.dumps(state).decode())
                return written


def _state_name(contract_id: str, asked: Timeframe) -> str:
    return f"history {contract_id} {asked}"
