"""Where bars come from, what they were before, and what was observed, in real databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import orjson
from msgspec import structs

from escapement.calendars import calendar_for_contract
from escapement.model import NS_PER_SECOND, Bar, BarSource, Coverage, Gap, GapCause, Timeframe
from escapement.moments import datetime_from_ns, ns_from_iso
from escapement.storage import DBHandler

MINUTE = Timeframe.parse("1m")
START = ns_from_iso("2025-03-17T13:30:00Z")
STEP = 60 * NS_PER_SECOND
BAR = Bar("MES", MINUTE, START, START + STEP, 5_700.25, 5_701.0, 5_700.0, 5_700.5, 42)
FOREVER = 1 << 62


def bars(count: int, first: int = 0, **changes: object) -> list[Bar]:
    return [
        structs.replace(BAR, start_ns=START + n * STEP, end_ns=START + (n + 1) * STEP, **changes)
        for n in range(first, first + count)
    ]


async def revisions(database: DBHandler) -> list[tuple[object, ...]]:
    _, rows = await database.read(
        "SELECT timestamp, revision, volume, whole, source FROM bar_revisions ORDER BY revision_id"
    )
    return rows


async def test_a_revised_bar_keeps_what_it_was_and_says_so_to_whoever_listens(url: str) -> None:
    heard: list[dict[str, object]] = []
    listener = await asyncpg.connect(url)
    await listener.add_listener("bar_revisions", lambda *message: heard.append(orjson.loads(message[3])))
    async with await DBHandler.open(url) as database:
        await database.store_bars(bars(3))
        repaired = [*bars(1), *bars(1, 1, volume=43, source=BarSource.HISTORY)]
        assert await database.revise_bars(repaired) == 1
        assert await database.revise_bars(repaired) == 0
        assert await database.bars_between("MES", MINUTE, 0, FOREVER) == [*repaired, *bars(1, 2)]
        assert await revisions(database) == [(datetime_from_ns(START + STEP), 1, 42, True, "live")]
        assert await database.revise_bars(bars(1, 1, volume=44, source=BarSource.REBUILT)) == 1
        assert [row[1:] for row in await revisions(database)] == [(1, 42, True, "live"), (2, 43, True, "history")]
    async with asyncio.timeout(20):
        while len(heard) < 2:  # noqa: ASYNC110 - the driver calls back
            await asyncio.sleep(0.01)
    await listener.close()
    assert [(each["contract_id"], each["revision"]) for each in heard] == [("MES", 1), ("MES", 2)]
    assert str(heard[0]["timestamp"]).startswith("2025-03-17T13:31:00")


async def test_a_bar_that_comes_in_behind_others_counts_as_a_revision_and_a_newer_one_does_not(url: str) -> None:
    async with await DBHandler.open(url) as database:
        await database.store_bars([*bars(1), *bars(1, 2)])
        assert await database.revise_bars(bars(4, source=BarSource.HISTORY)) == 2
        assert await revisions(database) == [(datetime_from_ns(START + STEP), 0, None, None, None)]


async def test_a_bar_of_which_part_is_missing_never_takes_the_place_of_a_whole_one(url: str) -> None:
    async with await DBHandler.open(url) as database:
        await database.store_bars([*bars(1), *bars(1, 1, whole=False)])
        assert await database.revise_bars(bars(2, volume=1, whole=False)) == 1
        assert await database.bars_between("MES", MINUTE, 0, FOREVER) == [*bars(1), *bars(1, 1, volume=1, whole=False)]
        assert await database.store_bars(bars(2, volume=9)) == 1
        assert [(row[1], row[2]) for row in await revisions(database)] == [(1, 42), (2, 1)]


async def test_bars_ring_the_bell_of_their_series_once_a_batch_and_only_when_new(url: str) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(url)
    await listener.add_listener("ohlc_bars", lambda *message: heard.append(message[3]))
    async with await DBHandler.open(url) as database:
        await database.store_bars(bars(5))
        await database.store_bars(bars(5))
        await database.store_bars(bars(2_000, contract_id="ES"))
        await database.store_observed(bars(1, 5), [], [], {"ingest": {}})
        await database.revise_bars(bars(1, volume=1))
        await database.store_observed(bars(1, contract_id="NQ"), (), (), {"ingest": {}})
    async with asyncio.timeout(20):
        while "NQ 1m" not in heard:  # noqa: ASYNC110 - the driver calls back
            await asyncio.sleep(0.01)
    await listener.close()
    assert heard == ["MES 1m", "ES 1m", "MES 1m", "MES 1m", "NQ 1m"]


async def test_coverage_grows_and_touching_stretches_are_one(url: str) -> None:
    async with await DBHandler.open(url) as database:
        for begins, ends in ((0, 5), (0, 3), (7, 9), (5, 6), (0, 5)):
            stretch = Coverage("MES", START + begins * STEP, START + ends * STEP, BarSource.LIVE)
            await database.store_observed([], [stretch], [], None)
        assert await database.coverage("MES") == [(START, START + 6 * STEP), (START + 7 * STEP, START + 9 * STEP)]
        await database.cover("MES", START + 6 * STEP, START + 7 * STEP, BarSource.HISTORY)
        assert await database.coverage("MES") == [(START, START + 9 * STEP)]
        assert await database.coverage("ES") == []


async def test_a_gap_opens_ends_is_tried_and_closes_with_its_bars_and_coverage(url: str) -> None:
    gap = Gap("MES", START, None, GapCause.DISCONNECT, "connection reset")
    async with await DBHandler.open(url) as database:
        await database.store_observed([], [], [gap], None)
        assert await database.open_gaps("MES") == [gap]
        ended = replace(gap, ends_ns=START + STEP)
        await database.store_observed([], [], [ended, ended], None)
        assert await database.open_gaps("MES") == [ended]
        await database.note_attempt("MES", [ended], "HTTP 503")
        covered = [Coverage("MES", START, START + STEP, BarSource.HISTORY)]
        assert await database.store_repair("MES", bars(1, source=BarSource.HISTORY), covered, [ended]) == 1
        assert await database.open_gaps("MES") == []
        _, rows = await database.read("SELECT state, attempts, reason, revised, closed_at > opened_at FROM data_gaps")
        assert rows == [("closed", 2, "", 1, True)]
        await database.store_observed([], [], [ended], None)  # found again
        assert await database.open_gaps("MES") == [ended]


async def test_stored_trading_periods_follow_a_corrected_calendar(url: str) -> None:
    sessions = calendar_for_contract("CON.F.US.MES.M25").sessions_between(START, START + 10 * 86_400 * NS_PER_SECOND)
    async with await DBHandler.open(url) as database:
        await database.set_periods("MES", sessions)
        await database.set_periods("MES", [session for session in sessions if session is not sessions[2]])
        _, rows = await database.read("SELECT trade_date FROM trading_periods ORDER BY opens_at")
        assert [row[0] for row in rows] == [each.trade_date for each in sessions if each is not sessions[2]]
        await database.track(["MES"], [MINUTE])
        await database.track(["MES"], [MINUTE, Timeframe.parse("1h")])
        _, rows = await database.read("SELECT timeframe_unit FROM tracked_series ORDER BY 1")
        assert rows == [(2,), (3,)]
