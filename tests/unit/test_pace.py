"""The paper account's time: what was received happens later, in order of the market's time, one thing after another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

from escapement.model import NS_PER_SECOND, Trade
from escapement.ports import FeedEvent, FeedLive, TradesReceived, VenueTime
from escapement.services.pace import Kind, Pace

MES, MNQ = "CON.F.US.MES.M25", "CON.F.US.MNQ.M25"
START = 1_742_167_440 * NS_PER_SECOND
DELAY_S = 0.05


class Feed:
    """Tells what it was given, and then nothing until it is closed."""

    def __init__(self, told: Sequence[FeedEvent]) -> None:
        self._told = told
        self._closed = asyncio.Event()

    async def events(self) -> AsyncIterator[FeedEvent]:
        for each in self._told:
            yield each
            await asyncio.sleep(0)
        await self._closed.wait()

    async def renew(self, cause: str) -> None:
        raise AssertionError(cause)

    async def aclose(self) -> None:
        self._closed.set()


def trade(second: float, contract_id: str = MES, price: float = 5_700.0) -> Trade:
    return Trade(contract_id, START + round(second * NS_PER_SECOND), price, 1)


def batch(*trades: Trade) -> TradesReceived:
    return TradesReceived(trades, 1)


def pace(*edges: float, delay_s: float = DELAY_S) -> Pace:
    moments = [START + round(each * NS_PER_SECOND) for each in edges]
    return Pace(delay_s, lambda now_ns: min((each for each in moments if each > now_ns), default=None))


def after(found: Pace) -> float:
    return (found.now_ns() - START) / NS_PER_SECOND


async def follow(found: Pace, told: Sequence[FeedEvent], said: list[object], until: int) -> None:
    feed = Feed(told)
    async with asyncio.timeout(20):
        async for event in found.follow(feed):
            match event:
                case TradesReceived((each,)):
                    said.append((each.contract_id, (each.at_ns - START) / NS_PER_SECOND))
                    assert after(found) == max(after(found), (each.at_ns - START) / NS_PER_SECOND)
                case VenueTime():
                    said.append(("time", after(found)))
                case _:
                    said.append("live")
            if len(said) >= until:
                await feed.aclose()


async def test_contracts_that_overtake_each_other_on_the_way_happen_in_order_of_time() -> None:
    chance = random.Random(1)
    times = [chance.uniform(0, 60) for _ in range(200)]
    trades = sorted(
        (trade(each, MES if number % 2 else MNQ) for number, each in enumerate(times)), key=lambda t: t.at_ns
    )
    told = [batch(*(each for each in trades if each.contract_id == name)) for name in (MNQ, MES)]
    said: list[object] = []
    await follow(pace(), told, said, len(trades))
    assert said == [(each.contract_id, (each.at_ns - START) / NS_PER_SECOND) for each in trades]


async def test_calls_decisions_and_edges_happen_before_trades_of_their_moment_and_in_that_order() -> None:
    found = pace(2.0, 3.0)
    said: list[object] = []

    async def look(at_edge: bool) -> None:  # noqa: FBT001 - as a pace calls it
        if at_edge:
            said.append(("edge", after(found)))

    async def decide() -> None:
        said.append(("decision", after(found)))

        async def arrive() -> None:
            said.append(("call", after(found)))

        found.at(found.now_ns() + NS_PER_SECOND, Kind.CALL, arrive)

    found.look = look
    found.at(START + 2 * NS_PER_SECOND, Kind.DECISION, decide)
    told: list[FeedEvent] = [
        FeedLive(1, 1),
        batch(trade(1), trade(2), trade(3)),
        VenueTime(MES, START + 4 * NS_PER_SECOND, 1),
    ]
    await follow(found, told, said, 9)
    assert said == [
        "live", (MES, 1), ("edge", 2), ("decision", 2), (MES, 2), ("edge", 3), ("call", 3), (MES, 3), ("time", 4),
    ]  # fmt: skip


async def test_nothing_happens_before_what_follows_from_the_last_thing_was_done() -> None:
    found = pace()
    said: list[object] = []
    busy: list[asyncio.Task[None]] = []
    found.is_quiet = lambda: not busy

    async def work() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        said.append("done")
        busy.clear()
        found.stir()

    async def decide() -> None:
        busy.append(asyncio.create_task(work()))

    found.at(START + NS_PER_SECOND, Kind.DECISION, decide)
    await follow(found, [batch(trade(1), trade(2))], said, 3)
    assert said == ["done", (MES, 1), (MES, 2)]


async def test_a_decision_that_comes_in_time_meets_the_market_of_its_moment_and_a_late_one_the_present() -> None:
    found = pace(delay_s=0.3)
    said: list[object] = []

    async def decide() -> None:
        said.append(("decision", after(found)))

    async def later() -> None:
        await asyncio.sleep(0.1)  # the trades are here already
        found.at(START + NS_PER_SECOND, Kind.DECISION, decide)
        while len(said) < 4:  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.01)
        found.at(START + NS_PER_SECOND, Kind.DECISION, decide)

    beside = asyncio.create_task(later())
    await follow(found, [batch(trade(0), trade(1), trade(2))], said, 4)
    assert said == [(MES, 0), ("decision", 1), (MES, 1), (MES, 2)]
    await beside
    await follow(found, [batch(trade(3))], said, 6)
    assert said[4:] == [("decision", 2), (MES, 3)]


async def test_at_the_end_calls_arrive_and_what_did_not_happen_is_handed_to_the_next_run() -> None:
    found = pace(delay_s=30.0)
    said: list[object] = []
    found.resume(START, [])

    async def arrive() -> None:
        said.append(("call", after(found)))

    found.at(START + 2 * NS_PER_SECOND, Kind.CALL, arrive)
    following = asyncio.create_task(follow(found, [batch(trade(3), trade(1, MNQ), trade(1))], said, 99))
    while len(found.ahead()) < 3:  # noqa: ASYNC110 - what it waits for tells nobody
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await found.finish()
    following.cancel()
    assert said == [(MNQ, 1), (MES, 1), ("call", 2)]
    assert found.ahead() == [trade(3)]
    again = pace()
    again.resume(found.now_ns(), found.ahead())
    await follow(again, [batch(trade(2, MNQ))], said, 5)
    assert said[3:] == [(MNQ, 2), (MES, 3)]


async def test_without_trades_time_goes_on_by_the_clock_behind_which_it_stays() -> None:
    wall = [START + 10 * NS_PER_SECOND]
    found = Pace(1.0, lambda now_ns: START + 5 * NS_PER_SECOND if now_ns < START + 5 * NS_PER_SECOND else None,
                 lambda: wall[0])  # fmt: skip
    found.resume(START, [])
    edges = asyncio.Event()

    async def look(at_edge: bool) -> None:  # noqa: FBT001 - as a pace calls it
        if at_edge:
            assert after(found) == 5
            edges.set()

    found.look = look
    following = asyncio.create_task(follow(found, [], [], 1))
    async with asyncio.timeout(10):
        await edges.wait()
        while after(found) < 9:  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.01)
    assert after(found) == 9
    following.cancel()
