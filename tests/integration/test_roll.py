"""A product's front contract changes at the simulated venue, and ingestion follows between two sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.cli.ingest import ingest_products
from escapement.core.aggregation import OHLCBarAggregator
from escapement.errors import ConfigurationError, GatewayUnavailable
from escapement.model import NS_PER_SECOND, Bar, Contract, Timeframe, Trade
from escapement.moments import ns_from_iso
from escapement.projectx import HubParams
from escapement.services.roll import Roll, RollParams
from escapement.settings import Settings, load_settings
from escapement.simulator import Simulator, SimulatorConfig, contract_facts, merged, synthetic_trades
from escapement.storage import DBHandler
from simulated import until

OLD, NEW, OTHER = "CON.F.US.EP.H25", "CON.F.US.EP.M25", "CON.F.US.MNQ.M25"
CALENDAR = calendar_for_contract(OLD)
MONDAY, TUESDAY = (
    next(session for session in CALENDAR.sessions if session.trade_date == date(2025, 3, day)) for day in (17, 18)
)
TIMEFRAMES = [Timeframe.parse(text) for text in ("1m", "5m", "1h")]
HALF_HOUR = 1_800 * NS_PER_SECOND
QUICK = HubParams(first_delay_s=0.05, longest_delay_s=0.2, silence_s=5.0, ping_s=0.5)
OFTEN = RollParams(look_s=0.02)


def around_the_break(contract_ids: Sequence[str]) -> list[Trade]:
    """The last half hour of Monday and the first of Tuesday, of contracts that all trade in both."""
    days = [synthetic_trades(contract_ids, date(2025, 3, day), seed=3, per_minute=30) for day in (17, 18)]
    return [trade for trade in merged(days) if MONDAY.close_ns - HALF_HOUR <= trade.at_ns < TUESDAY.open_ns + HALF_HOUR]


def offline(trades: Sequence[Trade], contract_id: str) -> list[Bar]:
    stage = OHLCBarAggregator({contract_id: CALENDAR}, TIMEFRAMES, tolerance_ns=0)
    outcomes = [*stage.push_many([trade for trade in trades if trade.contract_id == contract_id]), *stage.finish()]
    return [outcome for outcome in outcomes if isinstance(outcome, Bar)]


def settings_for(simulator: Simulator, url: str, data_dir: Path) -> Settings:
    return load_settings(
        environ={},
        data_dir=data_dir,
        timeframes=[str(timeframe) for timeframe in TIMEFRAMES],
        gateway={
            "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
            "user_hub_url": simulator.user_hub_url, "user_name": "demo", "api_key": "demo-key-0001",
        },
        contracts=[OTHER],
        products=["ES"],
        ingest={"clock": "stream"},
        database={"url": url},
    )  # fmt: skip


async def stored(database: DBHandler) -> list[Bar]:
    return [
        bar
        for contract_id in (OLD, NEW, OTHER)
        for timeframe in TIMEFRAMES
        for bar in await database.bars_between(contract_id, timeframe, 0, 1 << 62)
    ]


@asynccontextmanager
async def following(settings: Settings) -> AsyncIterator[DBHandler]:
    stopping = asyncio.Event()
    async with wiring.database(settings) as database, asyncio.TaskGroup() as group:
        group.create_task(ingest_products(settings, database, stopping, hub=QUICK, params=OFTEN))
        yield database
        stopping.set()


@pytest.mark.parametrize("minutes_into_break", [0, 20])
def facts(bars: Sequence[Bar]) -> set[tuple[object, ...]]:
    return {(b.contract_id, b.timeframe, b.start_ns, b.open, b.high, b.low, b.close, b.volume) for b in bars}


def expected(trades: Sequence[Trade]) -> set[tuple[object, ...]]:
    """The old contract's bars up to the break, the new one's from there on, the other one's all the time."""
    bars = [bar for contract_id in (OLD, NEW, OTHER) for bar in offline(trades, contract_id)]
    return facts(
        [
            bar
            for bar in bars
            if bar.contract_id == OTHER or (bar.contract_id == OLD) == (bar.start_ns < MONDAY.close_ns)
        ]
    )


# The tables are the same on every server, and this takes a while.
@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
@pytest.mark.parametrize("minutes_into_break", [0, 20])
async def test_the_front_is_changed_in_the_break_and_nothing_is_lost_or_doubled(
    url: str, tmp_path: Path, minutes_into_break: int
) -> None:
    trades = around_the_break([OLD, NEW, OTHER])
    front_since = {OLD: 0, NEW: MONDAY.close_ns + minutes_into_break * 60 * NS_PER_SECOND}
    config = SimulatorConfig([OLD, NEW, OTHER], speed=900, settle_s=0.3, front_since_ns=front_since)
    async with Simulator(config, trades) as simulator:

        def listening_to(*contract_ids: str) -> bool:
            wanted = {contract_id for kind, contract_id in simulator._hubs["market"].wanted if kind == "trades"}
            return wanted == set(contract_ids)

        async with following(settings_for(simulator, url, tmp_path)) as database:
            await until(lambda: listening_to(OLD, OTHER))
            # Half an hour of the market into the break its clock waits for the change, however slow this machine is.
            await until(lambda: simulator.now_ns >= MONDAY.close_ns + HALF_HOUR)
            assert simulator.now_ns < TUESDAY.open_ns
            simulator.pause()
            await until(lambda: listening_to(NEW, OTHER))
            simulator.resume()
            await until(simulator.finished.is_set)
            async with asyncio.timeout(20):
                while not facts(await stored(database)) >= expected(trades):  # noqa: ASYNC110 - stored by others
                    await asyncio.sleep(0.05)
        async with wiring.database(settings_for(simulator, url, tmp_path)) as database:
            bars = await stored(database)
    assert facts(bars) == expected(trades)
    assert len(bars) == len(expected(trades))


class Listing:
    """A venue's list of contracts that can be changed, and can fail."""

    def __init__(self, *contract_ids: str) -> None:
        self.contract_ids = contract_ids
        self.fails = False

    async def search_contracts(self, text: str) -> list[Contract]:
        del text
        if self.fails:
            raise GatewayUnavailable("Contract/search: HTTP 503")
        return []

    async def available_contracts(self) -> list[Contract]:
        return [contract_facts(each) for each in self.contract_ids]


def hours(roll_now: list[int]) -> Iterator[None]:
    """Let ten days pass by the hour."""
    for _ in range(10 * 24):
        roll_now[0] += 3_600 * NS_PER_SECOND
        yield


async def test_an_expected_roll_is_warned_of_once_a_day_and_a_silent_gateway_changes_nothing() -> None:
    listing = Listing(OLD)
    now = [ns_from_iso("2025-03-07T12:30:00Z")]
    roll = Roll(listing, {"ES": CALENDAR}, lambda: now[0], RollParams(look_s=0.0))
    with capture_logs() as logged:
        await roll.resolve()
        for _ in hours(now):
            listing.fails = 24 < now[0] // (3_600 * NS_PER_SECOND) % 48 < 40
            assert not await roll._has_rolled("ES")
    ahead = [(each["event"], each["days"]) for each in logged if each["event"] in {"roll_ahead", "roll_overdue"}]
    assert ahead == sorted(set(ahead), key=ahead.index)
    assert ("roll_ahead", 7) in ahead
    assert {event for event, _ in ahead} == {"roll_ahead"}
    assert "front_not_known" in {each["event"] for each in logged}
    assert roll.held["ES"].contract_id == OLD


async def test_a_front_that_expires_earlier_or_is_missing_is_not_taken() -> None:
    listing = Listing(NEW)
    now = [ns_from_iso("2025-03-18T21:30:00Z")]
    roll = Roll(listing, {"ES": CALENDAR}, lambda: now[0])
    with capture_logs() as logged:
        await roll.resolve()
        for contract_ids in ((OLD,), ()):
            listing.contract_ids = contract_ids
            now[0] += 600 * NS_PER_SECOND
            assert not await roll._has_rolled("ES")
    assert [each["event"] for each in logged] == ["front_contract", "roll_refused", "front_not_listed"]
    assert roll.held["ES"].contract_id == NEW


async def test_a_product_the_venue_does_not_have_is_refused() -> None:
    roll = Roll(Listing(OTHER), {"ES": CALENDAR}, lambda: TUESDAY.open_ns)
    with pytest.raises(ConfigurationError, match="no active contract of 'ES'"):
        await roll.resolve()
