"""What is made of the bars on a real TimescaleDB, by its edition."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from msgspec import structs

from escapement.errors import StorageUnavailable
from escapement.model import NS_PER_SECOND, Bar, BarSource, Timeframe
from escapement.moments import ns_from_iso
from escapement.storage import DBHandler, TimescaleParams, migrate, revisions, status_of
from escapement.storage import timescale as timescale_module
from escapement.storage.backup import back_up, restore
from escapement.storage.timescale import set_policies, timescale

on_timescale = pytest.mark.parametrize(
    "empty_database_url", [pytest.param("timescale", marks=pytest.mark.timescale)], indirect=True
)
MINUTE = Timeframe.parse("1m")
DAY_NS = 86_400 * NS_PER_SECOND
START = ns_from_iso("2024-01-03T00:00:00Z")
FOREVER = 1 << 62
ROWS = "SELECT md5(string_agg(row::text, ';' ORDER BY row::text)) FROM {} AS row"
TABLES = "ohlc_bars", "bar_revisions", "coverage", "tracked_series"


def bars(count: int, *, step_ns: int = 60 * NS_PER_SECOND, **changes: object) -> list[Bar]:
    bar = Bar("MES", MINUTE, START, START + 60 * NS_PER_SECOND, 5_700.25, 5_701.0, 5_700.0, 5_700.5, 42)
    return [
        structs.replace(bar, start_ns=START + n * step_ns, end_ns=START + n * step_ns + 60 * NS_PER_SECOND, **changes)
        for n in range(count)
    ]


async def filled_plain_database(url: str) -> None:
    """Our tables as on a server without TimescaleDB, with bars of a year, some of them revised."""

    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(url)

    await revisions.apply(connect)
    async with await DBHandler.open(url) as database:
        assert not (await status_of(database)).timescale.hypertable
        await database.track(["MES"], [MINUTE])
        for contract_id in ("MES", "MNQ"):
            await database.store_bars(bars(50_000, step_ns=10 * 60 * NS_PER_SECOND, contract_id=contract_id))
        await database.revise_bars(bars(300, volume=43, source=BarSource.HISTORY))
        await database.cover("MES", START, START + 360 * DAY_NS, BarSource.HISTORY)


async def contents(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [await connection.fetchval(ROWS.format(table)) for table in TABLES]
    finally:
        await connection.close()


async def somebody_waits(connection: asyncpg.Connection[asyncpg.Record], count: int) -> None:
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'ohlc_bars'::regclass"
    async with asyncio.timeout(30):
        while len(await connection.fetch(waiting)) < count:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


@on_timescale
async def test_a_filled_plain_table_becomes_a_hypertable_without_loss_while_a_program_writes(
    empty_database_url: str,
) -> None:
    await filled_plain_database(empty_database_url)
    before = await contents(empty_database_url)
    told: list[tuple[int, int]] = []
    reader = await asyncpg.connect(empty_database_url)
    async with await DBHandler.open(empty_database_url) as database:
        await reader.execute("BEGIN; SELECT FROM ohlc_bars LIMIT 1")  # what reads is waited for
        moving = asyncio.create_task(migrate(empty_database_url, progress=lambda done, of: told.append((done, of))))
        await somebody_waits(reader, 1)
        storing = asyncio.create_task(database.store_bars(bars(5, contract_id="ES")))
        await somebody_waits(reader, 2)
        await reader.execute("COMMIT")
        assert await moving == []
        assert await storing == 5, "what was written meanwhile waited and is there"
        await reader.execute("DELETE FROM ohlc_bars WHERE contract_id = 'ES'")
        await reader.close()
        assert await contents(empty_database_url) == before
        status = await status_of(database)
        assert status.timescale.hypertable
        assert status.chunks is not None
        assert status.chunks.chunks == 13
        assert (status.chunks.chunk_days, status.chunks.compressed_chunks, status.chunks.policies) == (30.0, 0, [])
        assert told[-1][0] == told[-1][1] > 5_000_000
        assert told == sorted(told), "progress never goes back"
        # The key and the trigger hold as before.
        assert await database.store_bars(bars(300)) == 0
        assert await database.revise_bars(bars(10, volume=44)) == 10
        assert await database.pool.fetchval("SELECT count(*) FROM bar_revisions WHERE volume = 43") == 10


@on_timescale
async def test_a_move_that_is_broken_off_leaves_the_table_as_it_was(empty_database_url: str) -> None:
    await filled_plain_database(empty_database_url)
    before = await contents(empty_database_url)
    reader = await asyncpg.connect(empty_database_url)
    async with reader.transaction():
        await reader.execute("SELECT FROM ohlc_bars LIMIT 1")
        moving = asyncio.create_task(migrate(empty_database_url))
        await somebody_waits(reader, 1)
        moving.cancel()
        with suppress(asyncio.CancelledError):
            await moving
    await reader.close()
    async with await DBHandler.open(empty_database_url) as database:
        assert not (await status_of(database)).timescale.hypertable
    assert await contents(empty_database_url) == before
    await migrate(empty_database_url)
    assert await contents(empty_database_url) == before


@on_timescale
async def test_a_table_that_is_in_use_is_not_waited_for_without_end(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timescale_module, "_LOCK_WAIT", "200ms")
    await filled_plain_database(empty_database_url)
    reader = await asyncpg.connect(empty_database_url)
    await reader.execute("BEGIN; SELECT FROM ohlc_bars LIMIT 1")
    with pytest.raises(StorageUnavailable, match="it is in use for 200ms; end long queries"):
        await migrate(empty_database_url)
    await reader.close()
    assert await migrate(empty_database_url) == []


@on_timescale
async def test_the_length_of_new_chunks_is_what_is_wished(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    async with await DBHandler.open(empty_database_url) as database:
        await database.store_bars(bars(20, step_ns=DAY_NS))
        await migrate(empty_database_url, TimescaleParams(chunk_days=7))
        await database.store_bars(bars(400, step_ns=DAY_NS))
        chunks = (await status_of(database)).chunks
    assert chunks is not None
    assert chunks.chunk_days == 7
    assert chunks.chunks > 50


@on_timescale
async def test_dropping_old_bars_forgets_what_was_known_of_that_time(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    async with await DBHandler.open(empty_database_url) as database:
        now = await database.pool.fetchval("SELECT now()")
        age = int(now.timestamp()) // 86_400 - START // DAY_NS
        await database.track(["MES"], [MINUTE])
        await database.store_bars(bars(200, step_ns=DAY_NS))
        await database.revise_bars(bars(1, volume=43))
        for begin, end in ((0, 10), (5, 150), (160, 170)):
            await database.cover("MES", START + begin * DAY_NS, START + end * DAY_NS, BarSource.LIVE)
        await database.pool.execute("""CALL drop_old_bars(0, jsonb_build_object('keep_days', $1::integer))""", age - 90)
        left = await database.bars_between("MES", MINUTE, 0, FOREVER)
        gone = 200 - len(left)
        assert 60 < gone <= 90, "whole chunks go, none with a younger bar"
        assert left == bars(200, step_ns=DAY_NS)[gone:]
        ((begins_ns, ends_ns), later) = await database.coverage("MES")
        assert left[0].start_ns - DAY_NS < begins_ns <= left[0].start_ns
        assert ends_ns == START + 150 * DAY_NS
        assert later == (START + 160 * DAY_NS, START + 170 * DAY_NS)
        assert await database.pool.fetchval("SELECT count(*) FROM bar_revisions") == 0
        await database.pool.execute("CALL drop_old_bars(0, jsonb_build_object('keep_days', $1::integer))", age + 999)
        assert len(await database.bars_between("MES", MINUTE, 0, FOREVER)) == len(left)


@on_timescale
async def test_the_apache_edition_refuses_policies_and_is_told_of_by_name(empty_database_url: str) -> None:
    await only_on(empty_database_url, "apache")
    notes = await migrate(empty_database_url, TimescaleParams(compress_after_days=90, keep_days=900))
    needs = "TimescaleDB's community edition, and this server has the Apache edition"
    assert notes == [
        f"timescale.compress_after_days (90) has no effect: it needs {needs}",
        f"timescale.keep_days (900) has no effect: it needs {needs}",
    ]
    async with await DBHandler.open(empty_database_url) as database:
        status = await status_of(database)
        assert (status.timescale.edition, status.timescale.hypertable) == ("Apache", True)
        assert status.chunks is not None
        assert status.chunks.policies == []
        assert await database.store_bars(bars(3)) == 3


@on_timescale
async def test_no_version_that_loses_bars_of_a_batch_gets_to_compress(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    state = replace(await timescale(connection), installed="2.17.2")
    assert await set_policies(connection, TimescaleParams(compress_after_days=90), state) == [
        "timescale.compress_after_days (90) has no effect: it needs TimescaleDB 2.19.1 or later, and this is 2.17.2"
    ]
    await connection.close()


@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
async def test_plain_postgresql_says_what_it_cannot_do(empty_database_url: str) -> None:
    assert await migrate(empty_database_url) == []
    assert await migrate(empty_database_url, TimescaleParams(keep_days=900)) == [
        "timescale.keep_days (900) has no effect: it needs TimescaleDB, which this server does not have"
    ]


@on_timescale
async def test_the_community_edition_compresses_and_takes_corrections(tmp_path: Path, empty_database_url: str) -> None:
    await only_on(empty_database_url, "timescale")
    for _ in range(2):
        assert await migrate(empty_database_url, TimescaleParams(30, compress_after_days=90, keep_days=9_000)) == []
    async with await DBHandler.open(empty_database_url) as database:
        stored = bars(30_000)
        await database.store_bars(stored[:15_000] + stored[15_001:])
        await database.pool.execute("SELECT compress_chunk(chunk) FROM show_chunks('ohlc_bars') AS chunk")
        assert await database.store_bars(stored[14_000:16_000]) == 1, "the one that was missing, among those there"
        assert await database.store_bars(stored[:10]) == 0
        assert await database.revise_bars(bars(2_000, volume=43)) == 2_000
        assert await database.bars_between("MES", MINUTE, 0, FOREVER) == bars(2_000, volume=43) + stored[2_000:]
        assert await database.pool.fetchval("SELECT count(*) FROM bar_revisions WHERE volume = 42") == 2_000
        chunks = (await status_of(database)).chunks
        assert chunks is not None
        assert chunks.compressed_chunks == chunks.chunks
        assert chunks.before_bytes > 3 * chunks.after_bytes > 0
        assert {policy.days for policy in chunks.policies} == {90.0, 9_000.0}
    file = tmp_path / "compressed.backup"
    await back_up(empty_database_url, file)
    await restore(empty_database_url, file, replace=True)
    async with await DBHandler.open(empty_database_url) as database:
        restored = (await status_of(database)).chunks
        assert restored is not None
        assert (restored.compressed_chunks, restored.chunks) == (chunks.compressed_chunks, chunks.chunks)
        assert {policy.days for policy in restored.policies} == {90.0, 9_000.0}
        assert await database.bars_between("MES", MINUTE, 0, FOREVER) == bars(2_000, volume=43) + stored[2_000:]
        assert await migrate(empty_database_url) == []
        chunks = (await status_of(database)).chunks
        assert chunks is not None
        assert chunks.policies == [], "the settings decide"


async def only_on(url: str, license_name: str) -> None:
    """Make our tables; skip where the server has the other edition."""
    await migrate(url)
    connection = await asyncpg.connect(url)
    found = (await timescale(connection)).license
    await connection.close()
    if found != license_name:
        pytest.skip(f"the server has the licence {found}, and this is about {license_name}")
