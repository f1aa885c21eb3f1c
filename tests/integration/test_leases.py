"""Leases: one holder at a time, whoever waits takes over, and who lost one without noticing writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from escapement import wiring
from escapement.cli import execute
from escapement.errors import LeaseLost, StorageUnavailable
from escapement.model import Bar, Coverage, Gap, GapCause, Timeframe
from escapement.model.bar import BarSource
from escapement.services.sharing import Sharing, hold, while_held
from escapement.services.supervise import Report
from escapement.settings import load_settings
from escapement.storage import DBHandler, migrations
from escapement.storage.leases import Leases, leases

MES = "CON.F.US.MES.Z26"
MINUTE = Timeframe.parse("1m")
MINUTE_NS = 60 * 10**9
VERSIONS = Path(migrations.__path__[0]) / "versions"
EMBEDDED = pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)


def bars(count: int) -> list[Bar]:
    return [
        Bar(MES, MINUTE, n * MINUTE_NS, (n + 1) * MINUTE_NS, 5.0, 6.0, 4.0, 5.5, 7) for n in range(1, count + 1)
    ]  # fmt: skip


async def run_out(database: DBHandler) -> None:
    await database.pool.execute("UPDATE leases SET until = clock_timestamp()")


async def test_a_lease_is_one_holders_until_it_runs_out_or_is_given_back_and_its_token_grows(url: str) -> None:
    async with await DBHandler.open(url) as database:
        first, second = (Leases(database, "ingest", seconds) for seconds in (0.5, 60))
        assert await first.take([MES, "B"]) == ["B", MES] or first.names == ["B", MES]
        assert await second.take([MES, "B", "C"]) == ["C"]
        assert first.holds(MES)
        assert not first.holds(MES, 1.0)
        assert not second.holds(MES)
        assert await first.renew() == []
        async with asyncio.timeout(5):
            while not await second.take([MES]):  # noqa: ASYNC110 - the database's clock has no event
                await asyncio.sleep(0.02)
        assert await first.renew() == [MES]  # B was not taken by anybody, and is held on
        assert first.names == ["B"]
        await first.give_back()
        assert sorted(await second.take(["B"])) == ["B"]
        rows = {row.resource: row for row in await leases(database)}
        assert {name: row.token for name, row in rows.items()} == {f"ingest {MES}": 2, "ingest B": 2, "ingest C": 1}
        assert {row.holder for row in rows.values()} == {second.holder}
        await second.give_back([MES])
        assert not next(row for row in await leases(database, [f"ingest {MES}"])).is_held
        assert await first.take([MES]) == [MES]
        assert [row.token for row in await leases(database, [f"ingest {MES}"])] == [3]


@pytest.mark.parametrize("count", [3, 2_000])
async def test_who_lost_the_lease_stores_neither_bars_nor_gaps_nor_coverage_nor_state(url: str, count: int) -> None:
    async with await DBHandler.open(url) as database:
        frozen, other = Leases(database, "ingest", 60), Leases(database, "ingest", 60)
        await frozen.take([MES])
        store = database.fenced(frozen.fence([MES]))
        gap = Gap(MES, 0, MINUTE_NS, GapCause.CRASH)
        seen = Coverage(MES, 0, MINUTE_NS, BarSource.LIVE)
        assert await store.store_observed(bars(1), [seen], [gap], {"ingest": {"at": 1}}) == 1
        await run_out(database)
        assert await store.store_observed(bars(2), [], [], {"ingest": {"at": 2}}) == 1  # nobody has taken it
        assert await other.take([MES]) == [MES]
        for writing in (
            store.store_observed(bars(count), [seen], [gap], {"ingest": {"at": 3}}),
            store.store_repair(MES, bars(count), [seen], [gap]),
            store.note_attempt(MES, [gap], "frozen"),
            store.save_state("ingest", {"at": 4}),
        ):
            with pytest.raises(LeaseLost, match=MES):
                await writing
        # Taken again, it has another token: what was begun before is over.
        await run_out(database)
        assert frozen.names == [MES]
        assert await frozen.renew() == [MES]
        assert await frozen.take([MES]) == [MES]
        with pytest.raises(LeaseLost):
            await store.save_state("ingest", {"at": 5})
        assert await database.load_state("ingest") == {"at": 2}
        assert len(await database.bars_between(MES, MINUTE, 0, 1 << 60)) == 2
        assert await database.open_gaps(MES) == [gap]
        assert await database.fenced(frozen.fence([MES])).store_bars([]) == 0


async def test_nobody_takes_a_lease_in_the_middle_of_a_write_but_a_writer_that_freezes_is_ended(url: str) -> None:
    async with await DBHandler.open(url) as database:
        writer, other = Leases(database, "ingest", 1.0), Leases(database, "ingest", 60)
        await writer.take([MES])
        store = database.fenced(writer.fence([MES]))
        with pytest.raises(StorageUnavailable):
            await write_and_freeze(store, database, other)
        assert await database.load_state("torn") is None
        assert other.names == [MES]


async def write_and_freeze(store: DBHandler, database: DBHandler, other: Leases) -> None:
    """Write in a transaction, and say nothing more until another process has taken the lease."""
    async with store.writing() as connection:
        await connection.execute("INSERT INTO stage_states (name, state) VALUES ('torn', '{}')")
        async with asyncio.timeout(10):
            # Its row is locked, so that nothing can be changed in it; who asks something is not frozen yet.
            while any(each.is_held for each in await leases(database)):
                await connection.execute("SELECT 1")
                await asyncio.sleep(0.05)
        await connection.execute("UPDATE stage_states SET state = '[]' WHERE name = 'torn'")
        assert await other.take([MES]) == []  # neither taken nor waited for
        async with asyncio.timeout(10):
            while not await other.take([MES]):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)


async def test_every_process_takes_its_share_and_what_is_left_by_those_that_go(url: str) -> None:
    names = [f"C{number}" for number in range(8)]
    async with await DBHandler.open(url, connections=8) as database:
        async with sharer(database, names) as first:
            await settled(lambda: first.works == set(names))
            async with sharer(database, names) as second:
                await settled(lambda: len(first.works) == len(second.works) == 4)
                assert first.works | second.works == set(names)
                async with sharer(database, names) as third:
                    await settled(lambda: sorted(len(each.works) for each in (first, second, third)) == [2, 3, 3])
                await settled(lambda: len(first.works) == len(second.works) == 4)
                second.stopping.set()
                await settled(lambda: first.works == set(names))
        assert first.was_ever_alone
        assert not any(each.is_held for each in await leases(database, ["ingest"]))


class Sharer:
    """A process that works on its share, and finds out whether it is alone with it."""

    working: dict[str, list[Sharer]] = {}  # noqa: RUF012 - of all of them

    def __init__(self, database: DBHandler, names: Sequence[str]) -> None:
        self.works: set[str] = set()
        self.was_ever_alone = True
        self.stopping = asyncio.Event()
        self.leases = Leases(database, "ingest", 0.6)

        async def all_names() -> list[str]:
            return list(names)

        self.task = asyncio.create_task(Sharing("ingest", self.leases, all_names, self.work).run(self.stopping))

    async def work(self, share: Sequence[str], stopping: asyncio.Event) -> None:
        for name in share:
            at_work = self.working.setdefault(name, [])
            self.was_ever_alone = self.was_ever_alone and not at_work
            at_work.append(self)
        self.works |= set(share)
        try:
            await stopping.wait()
        finally:
            self.works -= set(share)
            for name in share:
                self.working[name].remove(self)


@asynccontextmanager
async def sharer(database: DBHandler, names: Sequence[str]) -> AsyncIterator[Sharer]:
    each = Sharer(database, names)
    try:
        yield each
    finally:
        each.stopping.set()
        await asyncio.gather(each.task, return_exceptions=True)


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


def test_a_contract_of_a_product_that_is_named_too_goes_with_that_product() -> None:
    other = "CON.F.US.MNQ.Z26"
    settings = load_settings(environ={}, contracts=[MES, other], products=["MES", "EP"])
    shares = {name: wiring.only(settings, [name]) for name in wiring.shared_names(settings)}
    assert {name: ([each.id for each in share.contracts], [each.code for each in share.products])
            for name, share in shares.items()} == {
        other: ([other], []), "MES": ([MES], ["MES"]), "EP": ([], ["EP"])
    }  # fmt: skip
    assert wiring.only(settings, [*shares]) == settings


@EMBEDDED
async def test_work_under_a_lease_is_cut_off_when_another_process_has_taken_it(url: str) -> None:
    async with await DBHandler.open(url) as database:
        ours, other = Leases(database, "execute", 0.6), Leases(database, "execute", 60)
        assert await hold(ours, "PRAC-1", asyncio.Event())
        ended = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        working = asyncio.create_task(while_held(ours, "PRAC-1", work()))
        await asyncio.sleep(1.0)
        assert ours.holds("PRAC-1")
        assert not working.done()
        await run_out(database)
        await other.take(["PRAC-1"])
        with pytest.raises(LeaseLost):
            await asyncio.wait_for(working, 10)
        assert ended.is_set()
        stopping = asyncio.Event()
        waiting = asyncio.create_task(hold(ours, "PRAC-1", stopping))
        await asyncio.sleep(0.3)
        stopping.set()
        assert await asyncio.wait_for(waiting, 10) is False


@EMBEDDED
async def test_work_is_cut_off_too_when_it_found_out_itself_that_its_lease_was_taken(url: str) -> None:
    async with await DBHandler.open(url) as database:
        ours, other = Leases(database, "execute", 3), Leases(database, "execute", 60)
        assert await hold(ours, "PRAC-1", asyncio.Event())

        async def work() -> None:
            await asyncio.sleep(0.3)  # it was renewed by now, and will be again in a while
            await run_out(database)
            assert await other.take(["PRAC-1"]) == ["PRAC-1"]
            assert await ours.renew() == ["PRAC-1"]  # as before something is sent
            await asyncio.Event().wait()

        working = asyncio.create_task(while_held(ours, "PRAC-1", work()))
        with pytest.raises(LeaseLost, match="PRAC-1"):
            await asyncio.wait_for(working, 10)


@EMBEDDED
async def test_who_took_his_lease_for_lost_while_nobody_else_took_it_goes_on(url: str) -> None:
    async with await DBHandler.open(url) as database:
        ours = Leases(database, "execute", 60)
        assert await hold(ours, "PRAC-1", asyncio.Event())
        await run_out(database)
        assert await asyncio.wait_for(hold(ours, "PRAC-1", asyncio.Event()), 5)
        assert ours.holds("PRAC-1")
        assert [row.token for row in await leases(database, ["execute"])] == [2]  # earlier work stays fenced off


@EMBEDDED
async def test_execution_is_up_when_it_stands_by(url: str) -> None:
    settings = load_settings(environ={}, contracts=[MES], database={"url": url}, logging={"level": "warning"})
    async with await DBHandler.open(url) as database:
        assert await Leases(database, "execute", 60).take(["paper"]) == ["paper"]
        up, stopping = asyncio.Event(), asyncio.Event()

        def ready(report: Report | None = None) -> None:
            assert report is not None
            assert report() == {}
            up.set()

        standing_by = asyncio.create_task(execute.serve(settings, stopping, ready))
        await asyncio.wait_for(up.wait(), 10)
        stopping.set()
        await asyncio.wait_for(standing_by, 10)


@EMBEDDED
async def test_the_state_of_ingestion_for_all_contracts_becomes_one_for_each(url: str) -> None:
    kept = {
        "version": 1, "ended": True, "seen": {"A": 5, "B": 6}, "compared": {"A": 4},
        "aggregator": {"version": 2, "timeframes": ["1m"], "contracts": {"A": [0.1], "B": [5700.25]}},
    }  # fmt: skip
    async with await DBHandler.open(url) as database:
        await database.save_state("ingest", kept)
        await database.pool.execute("DROP TABLE leases")
        await database.pool.execute((VERSIONS / "0010_leases.sql").read_text())
        assert await database.load_state("ingest") is None
        for name, state in (("A", [0.1]), ("B", [5700.25])):
            found = await database.load_state(f"ingest {name}")
            assert found == {**kept, "aggregator": {**kept["aggregator"], "contracts": {name: state}}}  # type: ignore[dict-item]
