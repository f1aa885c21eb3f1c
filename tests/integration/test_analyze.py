"""Stored bars to stored signals, in real databases: whatever happens, the table is that of an uninterrupted run."""

from __future__ import annotations

import asyncio
import csv
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

import analysis_program
from analysed import ALL_BARS, MINUTE, expected, holding, revised, running, stored, until, until_holding, walk
from analysis_program import SERIES, analysis, instances
from escapement import wiring
from escapement.analyzers import find_analyzer
from escapement.calendars import calendar_for_contract
from escapement.core.analysis import TrendStartsParams
from escapement.csvfiles import read_bars
from escapement.errors import StorageUnavailable
from escapement.model import Bar, Timeframe
from escapement.moments import datetime_from_ns, iso_from_ns
from escapement.services.analyze import Analysis
from escapement.services.lane import AnalyzeParams, Planned, Series
from escapement.services.plan import Run
from escapement.services.workers import Workers
from escapement.settings import load_settings
from escapement.storage import DBHandler, migrate
from escapement.storage.analysis import AnalysisStore
from escapement.storage.embedded import embedded_server, revive
from forking import fork, forks


async def test_what_is_stored_is_found_as_offline_in_the_order_in_which_it_became_known(url: str) -> None:
    async with await DBHandler.open(url) as database:
        await database.store_bars(ALL_BARS)
        service = analysis(database, chunk_bars=1_000)
        await service.catch_up()
        assert await holding(database) == expected(ALL_BARS)
        signals = await stored(database)
        assert len(signals) > 100
        assert [each.known_at_ns for each in sorted(signals, key=lambda each: each.signal_id)] == [
            each.known_at_ns for each in signals
        ]
        assert service.statistics().bars == 300 * len(instances())
        await analysis(database).catch_up()
        assert await stored(database) == signals


@pytest.mark.shared
@pytest.mark.parametrize("length", ["1d", "4h"])
async def test_of_real_bars_the_table_holds_what_the_golden_files_say(url: str, shared: Path, length: str) -> None:
    bars = list(read_bars(shared / "data" / f"mes_m25_{length}.csv", calendar_for_contract))
    run = Run("trend_starts", find_analyzer("trend_starts"), {Timeframe.parse(length): TrendStartsParams()})

    async def plan() -> list[Planned]:
        return list(run.on([(bars[0].contract_id, bars[0].timeframe)]))

    async with await DBHandler.open(url) as database:
        service = Analysis(AnalysisStore(database), None, plan, AnalyzeParams(chunk_bars=3, checkpoint_bars=5))
        for n in range(0, len(bars), 10):
            await database.store_bars(bars[n : n + 10])
            await service.catch_up()
        found = [
            (
                iso_from_ns(each.trigger_start_ns),
                iso_from_ns(each.bar_start_ns),
                each.signal_type,
                each.rule,
            )
            for each in sorted(await stored(database), key=lambda each: each.signal_id)
        ]
    with (shared / "golden" / f"trend_starts_mes_m25_{length}.csv").open(encoding="utf-8") as file:
        golden = [
            (row["trigger_timestamp"], row["timestamp"], row["signal_type"], row["rule"])
            for row in csv.DictReader(file)
        ]
    assert found == golden


async def test_new_bars_wake_it_at_once(url: str) -> None:
    async with await DBHandler.open(url) as database, running(analysis(database, poll_s=1_000.0)):
        for n in range(0, len(ALL_BARS), 50):
            await database.store_bars(sorted(ALL_BARS, key=lambda bar: bar.start_ns)[n : n + 50])
        await until_holding(database, expected(ALL_BARS))


async def test_lost_wake_ups_cost_only_time_and_more_of_them_change_nothing(url: str) -> None:
    async with await DBHandler.open(url) as database:
        async with running(analysis(database, bell=False), analysis(database)):
            for n in range(0, len(ALL_BARS), 50):
                await database.store_bars(ALL_BARS[n : n + 50])
                for series, timeframe in SERIES:
                    for _ in range(5):
                        await database.pool.execute("SELECT pg_notify('ohlc_bars', $1)", f"{series} {timeframe}")
                        await database.pool.execute("SELECT pg_notify('bar_revisions', 'spoilt')")
            await until_holding(database, expected(ALL_BARS))
        assert {each.superseded_ns for each in await stored(database)} == {None}


async def test_listeners_that_are_cut_off_listen_again(url: str) -> None:
    async with await DBHandler.open(url) as database, running(analysis(database, poll_s=1_000.0)):
        await database.store_bars(ALL_BARS[:200])
        await until_holding(database, expected(ALL_BARS[:200]))
        await database.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        await database.store_bars(ALL_BARS)
        await until_holding(database, expected(ALL_BARS))


@pytest.mark.parametrize("revisions", [0, 15])
async def test_killed_at_fifty_random_points_and_started_twice_it_leaves_what_an_uninterrupted_run_leaves(
    url: str, revisions: int
) -> None:
    chance = random.Random(7)
    bars = sorted((bar for series in SERIES for bar in walk(series, 1_000)), key=lambda bar: bar.start_ns)
    to_revise = {chance.randrange(10, 50) for _ in range(revisions)}
    progress = set()
    with forks(analysis_program.__file__) as process:
        async with await DBHandler.open(url) as database:
            for portion in range(50):
                # Now and then a second one by mistake.
                pids = [fork(process, url) for _ in range(chance.choice([1, 1, 2]))]
                first = portion * 60
                for n in range(first, first + 60, 20):
                    await database.store_bars(bars[n : n + 20])
                if portion in to_revise:
                    place = chance.randrange(first)
                    bars = revised(bars, place)
                    await database.revise_bars([bars[place]])
                await asyncio.sleep(chance.uniform(0.0, 0.2))
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                progress.add(len(await holding(database)))
            assert len(progress) > 25, "killed before anything was done"
            await analysis(database).catch_up()
            assert await holding(database) == expected(bars)
            signals = await stored(database)
    if not revisions:
        assert {each.superseded_ns for each in signals} == {None}
        for key in {each.key for each in signals}:
            mine = [each for each in signals if each.key == key]
            assert [each.signal_id for each in mine] == sorted(each.signal_id for each in mine)


async def test_two_at_once_by_mistake_store_what_one_would(url: str) -> None:
    async with await DBHandler.open(url) as database, await DBHandler.open(url) as other:
        first, second = analysis(database), analysis(other)
        async with running(first, second):
            for n in range(0, len(ALL_BARS), 30):
                await database.store_bars(ALL_BARS[n : n + 30])
            await until_holding(database, expected(ALL_BARS))
        assert len(await stored(database)) == len(expected(ALL_BARS))


@pytest.mark.parametrize("bell", [True, False])
async def test_a_revised_bar_supersedes_what_no_longer_holds_and_adds_what_does(url: str, *, bell: bool) -> None:
    series = SERIES[0]
    bars = walk(series, 400)
    async with await DBHandler.open(url) as database, running(analysis(database, bell=bell, chunk_bars=1_000)):
        await database.store_bars(bars)
        await until_holding(database, expected(bars))
        before = {each.signal_id: each for each in await stored(database)}
        changed = revised(bars, 205)
        assert await database.revise_bars(changed) == 1
        assert expected(changed) != expected(bars)
        await until_holding(database, expected(changed))
        after = {each.signal_id: each for each in await stored(database)}
        assert before.keys() <= after.keys(), "nothing is ever removed"
        gone = [each for each in after.values() if each.superseded_ns is not None]
        assert gone
        assert min(each.trigger_start_ns for each in gone) >= bars[205].start_ns
        for each in gone:
            assert replace(each, superseded_ns=None, superseded_by=None) == before[each.signal_id]
            if each.superseded_by is not None:
                new = after[each.superseded_by]
                assert new.superseded_ns is None
                assert new.signal_type == each.signal_type
                assert each.bar_start_ns == new.bar_start_ns or each.trigger_start_ns == new.trigger_start_ns
        # And back again: what held first holds again, as new rows.
        await database.revise_bars([structs.replace(bars[205], volume=9_999)])
        await until_holding(database, expected(bars))
        again = await stored(database)
        assert {each.signal_id for each in again if each.superseded_ns} > {each.signal_id for each in gone}


@pytest.mark.parametrize("marked_late", [True, False])
async def test_bars_that_come_in_behind_are_read_too(url: str, *, marked_late: bool) -> None:
    bars = walk(SERIES[0], 400)
    late = [*range(100), 250, 385]
    async with await DBHandler.open(url) as database:
        await database.store_bars([bar for n, bar in enumerate(bars) if n not in late])
        async with running(analysis(database, verify_s=0.2)):
            await until_holding(database, expected([bar for n, bar in enumerate(bars) if n not in late]))
            store = database.revise_bars if marked_late else database.store_bars
            await store([bars[n] for n in late])
            await until_holding(database, expected(bars))


async def test_a_bar_that_is_not_whole_is_read_and_told_and_its_repair_supersedes(url: str) -> None:
    bars = walk(SERIES[0], 200)
    partly = [structs.replace(bar, whole=False, high=bar.high + 50) if n == 150 else bar for n, bar in enumerate(bars)]
    async with await DBHandler.open(url) as database, running(analysis(database)):
        await database.store_bars(partly)
        await until_holding(database, expected(partly))
        doubtful = [each for each in await stored(database) if not each.trigger_whole]
        assert doubtful
        assert {each.trigger_start_ns for each in doubtful} == {bars[150].start_ns}
        await database.revise_bars(bars)
        await until_holding(database, expected(bars))


async def test_spoilt_state_is_made_anew_from_the_bars(url: str) -> None:
    async with await DBHandler.open(url) as database:
        for count, spoilt in enumerate(("NULL", "'{}'", "'[1]'"), 1):
            bars = [bar for series in SERIES for bar in walk(series, 100 * count)]
            await database.pool.execute(f"UPDATE analyzer_watermarks SET state = {spoilt}, step = step + 1")
            await database.store_bars(bars)
            service = analysis(database)
            await service.catch_up()
            assert service.statistics().rewinds == (len(instances()) if count > 1 else 0)
            assert await holding(database) == expected(bars)
            assert {each.superseded_ns for each in await stored(database)} == {None}


async def test_bars_dropped_at_the_beginning_leave_their_signals_as_they_are(url: str) -> None:
    bars = walk(SERIES[0], 1_500)
    async with await DBHandler.open(url) as database:
        await database.store_bars(bars[:1_400])
        await analysis(database, chunk_bars=500).catch_up()
        await database.pool.execute("DELETE FROM ohlc_bars WHERE timestamp < $1", datetime_from_ns(bars[450].start_ns))
        await database.store_bars(bars[1_400:])
        service = analysis(database, chunk_bars=500)
        await service.catch_up()
        assert service.statistics().rewinds == 0
        assert await holding(database) == expected(bars)
        await database.pool.execute("UPDATE analyzer_watermarks SET state = NULL, step = step + 1")
        await analysis(database, chunk_bars=100).catch_up()
        assert await holding(database) == expected(bars)
        assert {each.superseded_ns for each in await stored(database)} == {None}


async def test_in_worker_processes_the_same_is_found(url: str) -> None:
    async with await DBHandler.open(url) as database, Workers(2) as workers:
        await database.store_bars(ALL_BARS[::2])
        await analysis(database, workers=workers, chunk_bars=100).catch_up()
        assert await holding(database) == expected(ALL_BARS[::2])
        await database.revise_bars(ALL_BARS)
        await analysis(database, workers=workers, chunk_bars=100).catch_up()
        assert await holding(database) == expected(ALL_BARS)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_stored_revised_and_interrupted_the_signals_that_hold_are_those_of_the_bars(
    url: str, data: st.DataObject
) -> None:
    walks = {series: walk(series, 80) for series in SERIES}

    async def run() -> None:
        async with await DBHandler.open(url) as database:
            await database.pool.execute("TRUNCATE ohlc_bars, detected_signals, analyzer_watermarks CASCADE")
            service = analysis(database, bell=False, chunk_bars=data.draw(st.integers(1, 40)), checkpoint_bars=7)
            bars: dict[tuple[Series, int], Bar] = {}
            for _ in range(data.draw(st.integers(1, 6))):
                for series in SERIES:
                    first, count = data.draw(st.tuples(st.integers(0, 79), st.integers(0, 30)))
                    for bar in walks[series][first : first + count]:
                        lift = data.draw(st.sampled_from([0, 0, 0, 7]))
                        bars[series, bar.start_ns] = structs.replace(bar, high=bar.high + lift, close=bar.close + lift)
                await database.revise_bars(list(bars.values()))
                if data.draw(st.booleans()):
                    service = analysis(
                        database, bell=False, chunk_bars=data.draw(st.integers(1, 40)), checkpoint_bars=7
                    )
                await service.catch_up()
                assert await holding(database) == expected(list(bars.values()))

    asyncio.run(run())


async def test_with_products_each_contract_is_analysed_from_when_it_is_kept(url: str) -> None:
    chosen = load_settings(
        environ={}, products=["MES"], timeframes=["1m"],
        analyzers={"run": [{"name": "trend_starts", "contracts": ["MES"]}], "poll_seconds": 0.05},
    )  # fmt: skip
    old, new, other = (walk((f"CON.F.US.{code}", MINUTE), 100) for code in ("MES.H25", "MES.M25", "MNQ.M25"))
    async with await DBHandler.open(url) as database, wiring.analysis(chosen, database) as service:
        await database.track([old[0].contract_id], [MINUTE])
        await database.store_bars(old)

        def found_of(bars: Sequence[Bar]) -> Callable[[], Awaitable[bool]]:
            async def found() -> bool:
                return bars[0].contract_id in {row[1] for row in await holding(database)}

            return found

        async with running(service):
            await until(found_of(old))
            await database.store_bars([*new, *other])
            await database.track([new[0].contract_id, other[0].contract_id], [MINUTE])
            await until(found_of(new))
        assert not await found_of(other)()


async def test_signals_ring_when_they_come_and_when_they_go(url: str) -> None:
    bars = walk(SERIES[0], 300)
    heard: list[str] = []
    listener = await asyncpg.connect(url)
    await listener.add_listener("detected_signals", lambda *message: heard.append(message[3]))
    async with await DBHandler.open(url) as database:
        await database.store_bars(bars[:2])
        await analysis(database, chunk_bars=1_000).catch_up()
        assert await stored(database) == []
        for change in (bars, revised(bars, 100)):
            await database.revise_bars(change)
            await analysis(database, chunk_bars=1_000).catch_up()
            await listener.execute("SELECT 1")
            assert set(heard) == {"CON.F.US.MES.M25 1m"}
            heard.clear()
        await analysis(database).catch_up()
        await listener.execute("SELECT 1")
        assert heard == []
    await listener.close()


def kill_and_revive(data_dir: Path) -> None:
    os.kill(int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    while not revive(data_dir):  # the dying server may still answer
        os.sched_yield()


async def test_it_goes_on_when_the_database_server_was_killed(tmp_path: Path) -> None:
    with embedded_server(tmp_path) as url:
        await migrate(url)
        async with await DBHandler.open(url) as database, running(analysis(database)):
            await database.store_bars(ALL_BARS[:300])
            await until_holding(database, expected(ALL_BARS[:300]))
            await asyncio.to_thread(kill_and_revive, tmp_path)

            async def is_back() -> bool:
                try:
                    await database.store_bars(ALL_BARS)
                except StorageUnavailable:
                    return False
                return True

            await until(is_back)
            await until_holding(database, expected(ALL_BARS))
