"""Bars and state in real databases: the embedded server and TimescaleDB."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import Awaitable, Callable
from itertools import cycle
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from escapement.errors import ConfigurationError, SchemaMismatch, StorageError, StorageUnavailable
from escapement.model import NS_PER_SECOND, Bar, Timeframe
from escapement.moments import ns_from_iso
from escapement.storage import DBHandler, migrate, open_database, status_of
from escapement.storage.embedded import embedded_server, revive
from escapement.storage.schema import head

MINUTE = Timeframe.parse("1m")
HOUR = Timeframe.parse("1h")
START = ns_from_iso("2025-03-17T13:30:00Z")
BAR = Bar("MES", MINUTE, START, START + 60 * NS_PER_SECOND, 5_700.25, 5_701.0, 5_700.0, 5_700.5, 42)
FOREVER = 1 << 62


def bars(count: int, **changes: object) -> list[Bar]:
    step = 60 * NS_PER_SECOND
    return [
        structs.replace(BAR, start_ns=START + n * step, end_ns=START + (n + 1) * step, **changes) for n in range(count)
    ]


some_bars = st.builds(
    lambda n, timeframe, volume, whole: structs.replace(
        BAR, start_ns=START + n * 3_600 * NS_PER_SECOND, end_ns=START + (n + 1) * 3_600 * NS_PER_SECOND,
        timeframe=timeframe, volume=volume, whole=whole,
    ),
    st.integers(0, 6), st.sampled_from([MINUTE, HOUR]), st.integers(0, 10**12), st.booleans(),
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(some_bars, max_size=12), max_size=6))
def test_whatever_is_stored_in_whatever_order_the_first_whole_bar_stays(url: str, batches: list[list[Bar]]) -> None:
    async def run() -> None:
        async with await DBHandler.open(url, connections=1) as database:
            await database.pool.execute("TRUNCATE ohlc_bars")
            model: dict[tuple[Timeframe, int], Bar] = {}
            for batch in batches:
                await database.store_bars(batch)
                kept: dict[tuple[Timeframe, int], Bar] = {}
                for bar in batch:
                    key = bar.timeframe, bar.start_ns
                    if key not in kept or (bar.whole and not kept[key].whole):
                        kept[key] = bar
                for key, bar in kept.items():
                    if key not in model or (bar.whole and not model[key].whole):
                        model[key] = bar
            for timeframe in (MINUTE, HOUR):
                expected = [
                    bar for key, bar in sorted(model.items(), key=lambda pair: pair[0][1]) if key[0] == timeframe
                ]
                assert await database.bars_between("MES", timeframe, 0, FOREVER) == expected

    asyncio.run(run())


@pytest.mark.parametrize("count", [1, 999, 1_000, 5_000])
async def test_a_batch_is_stored_once_however_large_and_however_often(url: str, count: int) -> None:
    async with await DBHandler.open(url) as database:
        batch = bars(count)
        assert await database.store_bars(batch[: count // 2 + 1]) == count // 2 + 1
        assert await database.store_bars(batch) == count - count // 2 - 1
        assert await database.store_bars(batch) == 0
        assert await database.bars_between("MES", MINUTE, 0, FOREVER) == batch


@pytest.mark.parametrize("count", [3, 2_000])
async def test_a_whole_bar_replaces_a_partly_observed_one_and_never_the_other_way(url: str, count: int) -> None:
    async with await DBHandler.open(url) as database:
        assert await database.store_bars(bars(count, whole=False, volume=1)) == count
        assert await database.store_bars(bars(count, whole=False, volume=2)) == 0
        assert await database.store_bars(bars(count, volume=3)) == count
        assert await database.store_bars(bars(count, volume=4)) == 0
        assert await database.bars_between("MES", MINUTE, 0, FOREVER) == bars(count, volume=3)


async def test_reading_is_by_series_and_half_open(url: str) -> None:
    async with await DBHandler.open(url) as database:
        batch = bars(5)
        other = structs.replace(BAR, contract_id="ES", volume=7)
        await database.store_bars([*batch, other, structs.replace(BAR, timeframe=HOUR)])
        assert await database.latest_bar("MES", MINUTE) == batch[-1]
        assert await database.latest_bar("NQ", MINUTE) is None
        assert await database.bars_between("MES", MINUTE, batch[1].start_ns, batch[3].start_ns) == batch[1:3]
        assert await database.bars_between("ES", MINUTE, 0, FOREVER) == [other]
        assert [(series.contract_id, str(series.timeframe), series.bars) for series in await database.series()] == [
            ("ES", "1m", 1), ("MES", "1m", 5), ("MES", "1h", 1),
        ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 3, 2_000])
async def test_bars_and_state_are_stored_together_or_not_at_all(url: str, count: int) -> None:
    async with await DBHandler.open(url) as database:
        assert await database.store_observed(bars(count), (), (), {"ingest": {"at": 1}}) == count
        assert await database.load_state("ingest") == {"at": 1}
        assert await database.load_state("other") is None
        impossible = [*bars(count + 1, contract_id="NQ"), structs.replace(BAR, contract_id="ES", volume=-1)]
        with pytest.raises(StorageError, match="ohlc_bars_volume_check"):
            await database.store_observed(impossible, (), (), {"ingest": {"at": 2}})
        assert await database.load_state("ingest") == {"at": 1}
        assert await database.bars_between("NQ", MINUTE, 0, FOREVER) == []
        await database.store_observed((), (), (), {"ingest": {"price": 5_700.25, "nested": [1, None]}})
        assert await database.load_state("ingest") == {"price": 5_700.25, "nested": [1, None]}


async def test_a_connection_that_dies_is_an_outage_and_the_next_call_works(url: str) -> None:
    sleepers = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
    async with await DBHandler.open(url, connections=1) as database:
        asking = asyncio.create_task(database.read("SELECT pg_sleep(60)"))
        killer = await asyncpg.connect(url)
        while not await killer.fetch(sleepers):  # noqa: ASYNC110 - the server tells nobody when a query starts
            await asyncio.sleep(0.01)
        await killer.close()
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await asking
        assert await database.store_bars(bars(2)) == 2


async def test_two_programs_that_store_the_same_bars_at_once_store_each_bar_once(url: str) -> None:
    async with await DBHandler.open(url) as database:
        rival = await asyncpg.connect(url)
        batch = bars(2_000)
        await database.store_bars(batch[:1])
        transaction = rival.transaction()
        await transaction.start()
        await rival.execute("INSERT INTO ohlc_bars SELECT * FROM ohlc_bars ON CONFLICT DO NOTHING")
        await rival.execute(
            "INSERT INTO ohlc_bars SELECT contract_id, timestamp + interval '1 minute' * 700, timeframe_unit, "
            "timeframe_value, open, high, low, close, volume, ends_at + interval '1 minute' * 700, whole FROM ohlc_bars"
        )
        storing = asyncio.create_task(database.store_bars(batch[1:]))
        while not await rival.fetch("SELECT FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
        await transaction.commit()
        await rival.close()
        assert await storing == 1_998
        assert await database.bars_between("MES", MINUTE, 0, FOREVER) == batch


def kill_and_revive(data_dir: Path) -> None:
    os.kill(int((data_dir / "postgres/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    while not revive(data_dir):  # the dying server may still answer
        os.sched_yield()


async def store_through_outages(database: DBHandler, batch: list[Bar]) -> int:
    """Store until the database has it; return how often it was away. Any other fault is not ours to survive."""
    away = 0
    while True:
        try:
            await database.store_observed(batch, (), (), {f"to {batch[-1].end_ns}": {}})
        except StorageUnavailable:
            away += 1
            await asyncio.sleep(0.05)
        else:
            return away


async def test_a_server_killed_at_work_loses_no_acknowledged_bar_and_is_used_again(tmp_path: Path) -> None:
    small = [bars(500 * n)[-500:] for n in range(1, 31)]
    large = [bars(15_000 + 2_000 * n)[-2_000:] for n in range(1, 6)]
    with embedded_server(tmp_path) as url:
        await migrate(url)
        async with await DBHandler.open(url) as database:
            killed = asyncio.Event()

            async def kill_between() -> int:
                away = 0
                for number, batch in enumerate(small):
                    if number in {8, 20}:
                        await asyncio.to_thread(kill_and_revive, tmp_path)
                    away += await store_through_outages(database, batch)
                killed.set()
                return away

            async def store_meanwhile() -> int:
                away = 0
                for batch in cycle(large):
                    away += await store_through_outages(database, batch)
                    if killed.is_set() and batch is large[-1]:
                        return away
                return away

            assert sum(await asyncio.gather(kill_between(), store_meanwhile())) > 0
            assert await database.bars_between("MES", MINUTE, 0, FOREVER) == bars(25_000)
            assert await database.pool.fetchval("SELECT count(*) FROM stage_states") == len(small) + len(large)


async def test_a_database_without_our_tables_or_with_others_says_what_to_do(empty_database_url: str) -> None:
    with pytest.raises(SchemaMismatch, match=r"not there.*escapement db init"):
        async with open_database(empty_database_url, data_dir=None):  # type: ignore[arg-type] # not used with a URL
            pass
    async with await DBHandler.open(empty_database_url) as database:
        with pytest.raises(SchemaMismatch, match="escapement db init"):
            await database.store_bars(bars(1))
        await migrate(empty_database_url)
        await database.pool.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match=r"schema is 9999.*needs"):
        async with open_database(empty_database_url, data_dir=None):  # type: ignore[arg-type] # not used with a URL
            pass


async def test_a_newer_programs_database_is_left_alone(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match=r"newer version.*9999.*update the program"):
        await migrate(url)
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "9999"
    await connection.close()


async def test_making_the_schema_without_the_right_to_is_told(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    role = f"poor_{uuid4().hex}"
    await connection.execute(f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises(StorageError, match="permission denied for schema public"):
            await migrate(empty_database_url.replace("postgres@", f"{role}@", 1))
    finally:
        await connection.execute(f"DROP ROLE {role}")
        await connection.close()


@pytest.mark.parametrize("count", [1, 1_000])
@pytest.mark.parametrize(
    "wrong",
    [{"close": math.nan}, {"high": math.inf}, {"low": 9_999.0}, {"volume": -1}, {"volume": 1 << 70},
     {"contract_id": "a\0b"}, {"end_ns": 1 << 80}],
    ids=lambda wrong: str(*wrong),
)  # fmt: skip
async def test_a_bar_that_cannot_be_is_refused_for_good_with_its_batch(
    url: str, wrong: dict[str, object], count: int
) -> None:
    async with await DBHandler.open(url, connections=1) as database:
        batch = bars(count)
        batch[-1] = structs.replace(batch[-1], **wrong)
        with pytest.raises(StorageError) as caught:
            await database.store_bars(batch)
        assert not isinstance(caught.value, StorageUnavailable), "trying again would never end"
        assert await database.series() == []
        assert await database.store_bars(bars(count)) == count


async def test_making_the_schema_is_safe_to_repeat_and_to_race(empty_database_url: str) -> None:
    await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    async with await DBHandler.open(empty_database_url) as database:
        await database.store_bars(bars(3))
        await migrate(empty_database_url)
        assert len(await database.bars_between("MES", MINUTE, 0, FOREVER)) == 3
        assert (await status_of(database)).revision == head()


async def test_the_seed_tables_have_their_columns_and_keys(url: str) -> None:
    async with await DBHandler.open(url) as database:
        constraint = await database.pool.fetchval(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ohlc_bars_unique' AND conrelid = "
            "'ohlc_bars'::regclass"
        )
        assert constraint == 'UNIQUE (contract_id, timeframe_unit, timeframe_value, "timestamp")'
        for table, columns in {
            "ohlc_bars": "contract_id timestamp timeframe_unit timeframe_value open high low close volume",
            "detected_signals": "signal_id timestamp contract_id timeframe signal_type signal_price details",
            "analyzer_watermarks": "analyzer_id contract_id timeframe last_processed_timestamp",
            "coordinator_watermarks": "coordinator_id last_processed_signal_id",
        }.items():
            found, _ = await database.read(f"SELECT * FROM {table}")
            assert found[: len(columns.split())] == columns.split()


async def test_bars_are_a_hypertable_exactly_where_the_server_has_timescaledb(
    url: str, request: pytest.FixtureRequest
) -> None:
    async with await DBHandler.open(url) as database:
        timescale = (await status_of(database)).timescale
    on_timescale = "timescale" in request.node.callspec.id
    assert timescale.hypertable == on_timescale
    assert (timescale.installed is not None) == on_timescale


async def test_reading_by_sql_cannot_write_and_tells_faults(url: str) -> None:
    async with await DBHandler.open(url) as database:
        assert await database.read("SELECT 1 AS one, NULL AS none") == (["one", "none"], [(1, None)])
        await database.read("SET statement_timeout = '1ms'")
        assert (await database.read("SHOW statement_timeout"))[1] == [("0",)]
        with pytest.raises(StorageError, match="read-only transaction"):
            await database.read("DELETE FROM ohlc_bars")
        with pytest.raises(StorageError, match="nowhere"):
            await database.read("SELECT * FROM nowhere")
        with pytest.raises(StorageError, match="out of range"):
            await database.read("SELECT '4000-01-01 BC'::timestamptz")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("postgresql://trader:hunter2@127.0.0.1:1/x", StorageUnavailable),
        ("postgresql://trader:hunter2@127.0.0.1:port/x", ConfigurationError),
        ("postgresql://trader:hunter2@127.0.0.1:99999/x", ConfigurationError),
        ("postgresql://trader:hunter2@[::1/x", ConfigurationError),
        ("mysql://trader:hunter2@127.0.0.1/x", ConfigurationError),
    ],
)
async def test_no_message_repeats_the_password(url: str, error: type[Exception]) -> None:
    for attempt in (DBHandler.open, migrate):
        with pytest.raises(error) as caught:
            await attempt(url)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("attempt", [DBHandler.open, migrate])
async def test_a_database_that_is_not_there_is_a_fault_of_the_url(
    empty_database_url: str, attempt: Callable[[str], Awaitable[object]]
) -> None:
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL.*does not exist"):
        await attempt(empty_database_url.replace("/test_", "/other_", 1))
