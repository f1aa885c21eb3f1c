"""Stored signals to stored decisions, in real databases: whatever happens, they are those of an uninterrupted run."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

import coordination_program
from analysed import running, until
from coordination_program import MES, MNQ, bars, settings
from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.errors import StorageError
from escapement.model import Bar, BarSource, Coverage, Gap, GapCause
from escapement.moments import datetime_from_ns
from escapement.services.coordinate import CoordinateParams, Coordination
from escapement.settings import ProductSettings, Settings
from escapement.storage import DBHandler, migrate
from escapement.storage.coordination import CoordinationStore, KeptDecision
from escapement.storage.embedded import embedded_server, revive
from forking import fork, forks
from offline import Row, decisions_of, row

BARS = bars()
BEGIN, END = min(bar.start_ns for bar in BARS), max(bar.end_ns for bar in BARS)
MIDDLE = BEGIN + (END - BEGIN) // 2


def coordination(
    database: DBHandler, chosen: Settings | None = None, *, bell: bool = True, **params: Any
) -> Coordination:
    service = wiring.coordination(
        chosen or settings(), database, CoordinateParams(**{"poll_s": 0.05, "patience_s": 600, **params})
    )
    if not bell:
        service.bell = None
    return service


async def analyze(database: DBHandler, chosen: Settings | None = None) -> None:
    async with wiring.analysis(chosen or settings(), database) as service:
        await service.catch_up()


async def decided(database: DBHandler) -> list[KeptDecision]:
    return await CoordinationStore(database).decisions()


async def rows(database: DBHandler) -> list[Row]:
    return sorted(map(row, await decided(database)))


async def until_decided(database: DBHandler, wanted: Sequence[Row]) -> None:
    async def is_so() -> bool:
        return await rows(database) == wanted

    try:
        await until(is_so)
    except TimeoutError:
        assert await rows(database) == wanted


async def observe(database: DBHandler, gaps: Sequence[Gap] = ()) -> None:
    """Take note, as ingestion does, that everything was heard but for some gaps."""
    for contract_id in (MES, MNQ):
        sessions = calendar_for_contract(contract_id).sessions_of_whole_months(BEGIN, END)
        await database.set_periods(contract_id, sessions)
        mine = [each for each in gaps if each.contract_id == contract_id]
        await database.store_observed([], [Coverage(contract_id, BEGIN, END, BarSource.LIVE)], mine, None)


async def test_signals_lead_to_the_decisions_of_one_uninterrupted_reading_each_once(url: str) -> None:
    expected = decisions_of(BARS, settings())
    assert {each[2] for each in expected} == {"enter_long", "enter_short", "reverse", "exit", "hold"}
    async with await DBHandler.open(url) as database:
        await database.store_bars(BARS)
        await observe(database)
        await analyze(database)
        await coordination(database).catch_up()
        assert await rows(database) == expected
        decisions = await decided(database)
        assert all(each.data_complete for each in decisions)
        for contract_id in (MES, MNQ):
            moments = [each.known_at_ns for each in decisions if each.contract_id == contract_id]
            assert moments == sorted(set(moments)), "never two at one moment, in order of time"
        again = coordination(database)
        await again.catch_up()
        assert await decided(database) == decisions
        assert again.statistics().commits == 0


async def test_every_signal_is_noted_once_and_every_decision_names_its_signals(url: str) -> None:
    async with await DBHandler.open(url) as database:
        await database.store_bars(BARS)
        await analyze(database)
        await coordination(database).catch_up()
        store = CoordinationStore(database)
        _, noted = await database.read(
            "SELECT s.signal_id, l.signal_id, l.known_at = s.known_at FROM detected_signals AS s "
            "FULL JOIN decision_log AS l USING (signal_id)"
        )
        assert len(noted) > 200
        assert all(signal_id == note_id and same for signal_id, note_id, same in noted)
        for decision in await decided(database):
            signals = await store.signals(decision_id=decision.decision_id)
            assert decision.known_at_ns in {each.known_at_ns for each in signals}
            assert {each.key.contract_id for each in signals} == {decision.contract_id}
            notes = await store.notes(decision_id=decision.decision_id)
            assert notes
            for note in notes:
                assert note.verdicts[-1]["values"]["action"] == decision.action
                assert note.verdicts[-1]["values"]["confidence"] == round(decision.confidence, 4)


async def test_new_signals_wake_it_at_once(url: str) -> None:
    async with await DBHandler.open(url) as database, wiring.analysis(settings(), database) as analysis:
        task = asyncio.create_task(analysis.run())
        async with running(coordination(database, poll_s=1_000)):
            for n in range(0, len(BARS), 100):
                await database.store_bars(BARS[n : n + 100])
            await until_decided(database, decisions_of(BARS, settings()))
        analysis.stop()
        await task


async def test_without_any_wake_up_it_finds_them_by_itself(url: str) -> None:
    async with await DBHandler.open(url) as database, running(coordination(database, bell=False)):
        await database.store_bars(BARS)
        await analyze(database)
        await until_decided(database, decisions_of(BARS, settings()))


async def test_two_at_once_by_mistake_decide_what_one_would(url: str) -> None:
    async with await DBHandler.open(url) as database, await DBHandler.open(url) as other:
        await database.store_bars(BARS)
        await analyze(database)
        first, second = coordination(database, most=5), coordination(other, most=5)
        async with running(first, second):
            await until_decided(database, decisions_of(BARS, settings()))
        counts = [each.statistics() for each in (first, second)]
        assert sum(each.decisions for each in counts) == len(await decided(database))


async def steps(database: DBHandler) -> tuple[object, ...]:
    """How often analyzers and coordinators committed."""
    tables = "analyzer_watermarks", "coordinator_watermarks"
    return tuple([(await database.read(f"SELECT sum(step) FROM {each}"))[1][0][0] for each in tables])


async def has_moved(database: DBHandler, before: tuple[object, ...]) -> bool:
    return await steps(database) != before


async def test_killed_at_fifty_random_points_with_its_analyzers_it_decides_what_an_uninterrupted_run_decides(
    url: str,
) -> None:
    chance = random.Random(7)
    portions = 50
    many = sorted(BARS, key=lambda bar: (bar.end_ns, bar.contract_id))
    progress = set()
    with forks(coordination_program.__file__) as process:
        async with await DBHandler.open(url) as database:
            await observe(database)
            for portion in range(portions):
                before = await steps(database)
                wanted = [f"{what} {url}" for what in ("analyze", "coordinate", *chance.choices(["coordinate"], k=1))]
                pids = [fork(process, line) for line in wanted[: chance.choice([2, 2, 3])]]
                chunk = many[portion * len(many) // portions : (portion + 1) * len(many) // portions]
                for n in range(0, len(chunk), 10):
                    await database.store_bars(chunk[n : n + 10])
                if portion % 3 == 0:  # however slow the machine is, now and then something has to be done
                    await until(partial(has_moved, database, before))
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                progress.add(await steps(database))
            assert len(progress) > 10, "killed before anything was done"
            await analyze(database)
            await coordination(database).catch_up()
            assert await rows(database) == decisions_of(BARS, settings())


async def test_what_lies_behind_a_gap_waits_until_the_gap_is_closed(url: str) -> None:
    expected = decisions_of(BARS, settings())
    gap = Gap(MES, MIDDLE, MIDDLE + 60 * 10**9, GapCause.DISCONNECT)
    async with await DBHandler.open(url) as database:
        await database.store_bars(BARS)
        await observe(database, [gap])
        await analyze(database)
        service = coordination(database)
        await service.catch_up()
        before = [each for each in expected if each[0] == MNQ or each[6] <= MIDDLE]
        assert await rows(database) == before != expected
        await database.store_repair(MES, [], [Coverage(MES, gap.begins_ns, gap.ends_ns or 0, BarSource.HISTORY)], [gap])
        await service.catch_up()
        assert await rows(database) == expected
        assert all(each.data_complete for each in await decided(database))


async def test_nothing_is_decided_before_the_beginning_is_filled(url: str) -> None:
    gap = Gap(MES, BEGIN, BEGIN + 1_000, GapCause.START)
    async with await DBHandler.open(url) as database:
        await database.store_bars([bar for bar in BARS if bar.start_ns > BEGIN])
        heard = Coverage(MES, BEGIN + 1_000, END, BarSource.LIVE)
        await database.store_observed([], [heard], [gap], None)
        await analyze(database)
        service = coordination(database)
        await service.catch_up()
        assert MES not in {each[0] for each in await rows(database)}
        first = [bar for bar in BARS if bar.start_ns == BEGIN]
        await database.store_repair(MES, first, [Coverage(MES, BEGIN, BEGIN + 60 * 10**9, BarSource.HISTORY)], [gap])
        await service.catch_up()
        assert MES not in {each[0] for each in await rows(database)}, "the analyzers have yet to read the first bar"
        await analyze(database)
        await service.catch_up()
        mine = [each for each in await rows(database) if each[0] == MES]
        assert mine == [each for each in decisions_of(BARS, settings()) if each[0] == MES]


async def test_after_its_patience_it_goes_on_and_says_that_data_may_be_missing(url: str) -> None:
    async with await DBHandler.open(url) as database:
        await database.store_bars(BARS)
        await observe(database, [Gap(MES, MIDDLE, None, GapCause.FREEZE)])
        await analyze(database)
        await coordination(database, patience_s=1e-6).catch_up()
        assert await rows(database) == decisions_of(BARS, settings())
        told = {(each.contract_id, each.known_at_ns <= MIDDLE, each.data_complete) for each in await decided(database)}
        assert told == {(MES, True, True), (MES, False, False), (MNQ, True, True), (MNQ, False, True)}


async def test_of_data_that_nobody_observed_it_says_so(url: str) -> None:
    async with await DBHandler.open(url) as database:
        await database.store_bars(BARS)
        await analyze(database)
        await coordination(database).catch_up()
        assert {each.data_complete for each in await decided(database)} == {False}


async def test_a_moment_waits_for_every_analyzer_that_has_yet_to_read_it(url: str) -> None:
    late = [bar for bar in BARS if str(bar.timeframe) == "15m"]
    async with await DBHandler.open(url) as database:
        await database.store_bars(BARS)
        await analyze(database, settings().model_copy(update={"timeframes": settings().timeframes[:2]}))
        service = coordination(database)
        await service.catch_up()
        assert await rows(database) == []
        assert late[0].timeframe in settings().timeframes
        await analyze(database)
        await service.catch_up()
        assert await rows(database) == decisions_of(BARS, settings())


async def test_an_analyzer_at_fault_holds_up_nobody(url: str) -> None:
    async with await DBHandler.open(url) as database:
        await database.store_bars([bar for bar in BARS if str(bar.timeframe) != "15m"])
        await observe(database)
        await analyze(database)
        await database.store_bars(BARS)
        # What it read before it failed may be revised, and it does not read that either.
        await database.pool.execute(
            "UPDATE analyzer_watermarks SET fault = 'broken', last_processed_timestamp = $1, bars = 5 "
            "WHERE timeframe = '15m'",
            datetime_from_ns(MIDDLE),
        )
        service = coordination(database)
        await service.catch_up()
        assert {each.data_complete for each in await decided(database)} == {False}, "its bars were not read"


def revised(bar: Bar) -> Bar:
    return structs.replace(bar, high=bar.high + 60, close=bar.close + 50, volume=bar.volume + 1)


async def test_decisions_stay_when_their_signals_no_longer_hold_and_later_ones_know_better(url: str) -> None:
    first = [bar for bar in BARS if bar.end_ns <= MIDDLE]
    place = max(n for n, bar in enumerate(first) if bar.contract_id == MES and str(bar.timeframe) == "5m") - 2
    async with await DBHandler.open(url) as database:
        await database.store_bars(first)
        await analyze(database)
        service = coordination(database)
        await service.catch_up()
        before = await decided(database)
        await database.revise_bars([revised(first[place])])
        await analyze(database)
        await service.catch_up()
        assert await decided(database) == before
        _, gone = await database.read("SELECT count(*) FROM detected_signals WHERE superseded_at IS NOT NULL")
        _, late = await database.read('SELECT count(*) FROM decision_log WHERE verdicts @> \'[{"rule": "late"}]\'')
        assert gone[0] > (0,)
        assert late[0] > (0,)
        assert service.statistics().late == late[0][0]
        _, voices = await database.read(
            "SELECT count(*) FROM coordinator_watermarks, json_array_elements(state -> 'voices') AS voice "
            "JOIN detected_signals ON signal_id = (voice -> 'last' ->> 'signal_id')::bigint "
            "WHERE superseded_at IS NOT NULL"
        )
        assert voices == [(0,)]
        await database.store_bars(BARS)
        await analyze(database)
        await service.catch_up()
        after = await decided(database)
        assert after[: len(before)] == before
        assert len(after) > len(before)


async def test_with_other_rules_it_goes_on_from_the_position_it_wished(url: str) -> None:
    first = [bar for bar in BARS if bar.end_ns <= MIDDLE]
    other = settings(entries=["pass_through"], gates=[], exits=[], conflict="ignore")
    async with await DBHandler.open(url) as database:
        await database.store_bars(first)
        await analyze(database)
        await coordination(database).catch_up()
        before = await decided(database)
        await database.store_bars(BARS)
        await analyze(database)
        await coordination(database, other).catch_up()
        after = [each for each in await decided(database) if each.number > before[-1].number]
        for contract_id in (MES, MNQ):
            wished = [each.direction for each in before if each.contract_id == contract_id][-1]
            mine = next(each for each in after if each.contract_id == contract_id)
            assert mine.rule == "pass_through"
            assert (mine.action == "hold") == (mine.direction == wished)
            assert (mine.action == "reverse") == (mine.direction == -wished)


async def test_a_state_that_cannot_be_read_is_told_with_the_remedy(url: str) -> None:
    async with await DBHandler.open(url) as database:
        await database.store_bars(BARS)
        await analyze(database)
        await coordination(database, most=50).catch_up()
        await database.pool.execute(
            "UPDATE coordinator_watermarks SET state = '{\"version\": 99}', "
            "coordinated_to = coordinated_to - '1h'::interval"
        )
        with pytest.raises(StorageError, match=r"coordinator_watermarks: .*99.*set state to null"):
            await coordination(database).catch_up()
        await database.pool.execute("UPDATE coordinator_watermarks SET state = NULL")
        await coordination(database).catch_up()


async def test_a_contract_whose_sessions_nobody_knows_any_more_holds_up_no_other(url: str) -> None:
    strange = [structs.replace(bar, contract_id="CON.F.US.ZZZ.M25") for bar in BARS if bar.contract_id == MNQ]
    # The front contracts of products are known when they are kept.
    chosen = settings().model_copy(update={"contracts": (), "products": (ProductSettings(code="MES"),)})
    async with await DBHandler.open(url) as database:
        await database.track([MES, "CON.F.US.ZZZ.M25"], settings().timeframes)
        await database.store_bars([*strange, *(bar for bar in BARS if bar.contract_id == MES)])
        await analyze(database, chosen)
        await coordination(database, chosen).catch_up()
        assert await rows(database) == [each for each in decisions_of(BARS, settings()) if each[0] == MES]
        known = ProductSettings(code="ZZZ", calendar="cme_equity")
        await coordination(database, chosen.model_copy(update={"products": (known,)})).catch_up()
        assert {each[0] for each in await rows(database)} == {MES, "CON.F.US.ZZZ.M25"}


async def test_it_goes_on_when_the_database_server_was_killed(tmp_path: Path) -> None:
    with embedded_server(tmp_path) as url:
        await migrate(url)
        async with await DBHandler.open(url) as database, running(coordination(database, retry_s=0.05)):
            await database.store_bars(BARS[: len(BARS) // 2])
            await analyze(database)
            await until(lambda: _any(database))
            os.kill(int((tmp_path / "postgres" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
            await until(lambda: asyncio.to_thread(revive, tmp_path))
            await database.store_bars(BARS)
            await analyze(database)
            await until_decided(database, decisions_of(BARS, settings()))


async def _any(database: DBHandler) -> bool:
    return bool(await decided(database))
