"""Our client against every fault the simulated venue knows: it survives or reports it, loses nothing it was given, and
invents nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from escapement.calendars import calendar_for_contract
from escapement.errors import GatewayUnavailable, OutcomeUnknown
from escapement.model import NS_PER_SECOND, Bracket, OrderRequest, OrderSide, OrderStatus, OrderType, Timeframe, Trade
from escapement.ports import AccountEvent, FeedEvent, FeedLive, FeedLost, TradesReceived, VenueTime
from escapement.projectx import GatewayClient, GatewayParams, HubParams, MarketFeed, UserFeed
from escapement.projectx.refusals import OrderRejected
from escapement.simulator import AccountSpec, Fault, Simulator, SimulatorConfig
from escapement.simulator.faults import KINDS
from simulated import MES, MONDAY_1330, tape, until

KEY = "demo-key-0001"
ACCOUNT = 1001
MINUTE = Timeframe.parse("1m")
TRADES = tape(*[5_700.0 + 0.25 * (n % 7) for n in range(300)])
CONFIG = SimulatorConfig(
    [MES], accounts=[AccountSpec(ACCOUNT, "PRAC-1", "demo", balance=Decimal(50_000))], audience="always",
    calls_limit=None, bars_limit=None, ping_s=0.1,
)  # fmt: skip
QUICK = HubParams(
    first_delay_s=0.01, longest_delay_s=0.05, silence_s=0.6, ping_s=0.2, forbidden_delay_s=0.2, handshake_s=2.0,
    largest_message=1_000_000,
)  # fmt: skip


@asynccontextmanager
async def venue(*faults: Fault, **changes: Any) -> AsyncIterator[tuple[Simulator, GatewayClient]]:
    async with Simulator(replace(CONFIG, faults=faults, **changes), TRADES) as simulator:
        params = GatewayParams(simulator.base_url, "demo", SecretStr(KEY), timeout_s=0.5, attempts=4)
        async with GatewayClient(params) as client:
            yield simulator, client


async def stream(*faults: Fault) -> tuple[list[FeedEvent], Simulator, int]:
    """Everything the feed tells until the replay's end, and how many records it could not read."""
    seen: list[FeedEvent] = []
    async with venue(*faults) as (simulator, client):
        feed = MarketFeed(client, simulator.market_hub_url, [MES], params=QUICK)
        async with asyncio.timeout(30):
            async for event in feed.events():
                seen.append(event)
                if isinstance(event, VenueTime) and event.at_ns >= simulator.end_ns:
                    await feed.aclose()
        return seen, simulator, feed.statistics().bad_records


def received(seen: list[FeedEvent]) -> Counter[Trade]:
    return Counter(trade for event in seen if isinstance(event, TradesReceived) for trade in event.trades)


def lost(seen: list[FeedEvent]) -> int:
    return sum(isinstance(event, FeedLost) for event in seen)


SENT = Counter(TRADES)


@pytest.mark.parametrize("kind", ["null_padding", "late_trades", "reordered_trades"])
async def test_every_trade_that_is_sent_arrives_whatever_stands_around_it(kind: str) -> None:
    seen, _, bad = await stream(Fault(kind, after_s=20, count=5, seconds=3))
    assert received(seen) == SENT
    assert lost(seen) == bad == 0


async def test_a_repeated_batch_is_handed_on_because_equal_trades_can_be_real() -> None:
    seen, simulator, _ = await stream(Fault("duplicated_trades", after_s=20, count=3))
    assert simulator.faults.struck["duplicated_trades"] == 3
    assert set(received(seen)) == set(SENT)
    assert received(seen).total() == SENT.total() + 3


async def test_a_batch_that_is_never_sent_is_missing_and_nothing_takes_its_place() -> None:
    seen, _, _ = await stream(Fault("missed_trades", after_s=20, count=3))
    assert received(seen) < SENT
    assert (SENT - received(seen)).total() == 3


async def test_a_broken_record_is_reported_and_costs_nothing_else() -> None:
    seen, _, bad = await stream(Fault("malformed_record", after_s=20, count=3))
    assert received(seen) == SENT
    assert lost(seen) == bad == 3


CUTS = [
    Fault("disconnect", after_s=50),
    Fault("disconnect_for_good", after_s=50),
    Fault("reset", after_s=50, count=3),
    Fault("freeze", after_s=50, seconds=1.0),
    Fault("oversized_record", after_s=50, size=1_500_000),
]


@pytest.mark.parametrize("fault", CUTS, ids=lambda fault: str(fault.kind))
async def test_after_a_cut_the_feed_says_so_and_goes_on_without_inventing(fault: Fault) -> None:
    seen, simulator, _ = await stream(fault)
    assert simulator.faults.struck[fault.kind] == fault.count
    assert lost(seen) >= 1
    assert received(seen) <= SENT
    # What is missing lies in the holes that were reported: between a loss and the next trade heard.
    assert holes_cover(seen, SENT - received(seen))


@pytest.mark.parametrize("kind", ["unauthorized_hub", "expired_tokens"])
async def test_a_refused_token_is_replaced(kind: str) -> None:
    seen, simulator, _ = await stream(Fault("reset", after_s=50), Fault(kind, after_s=49))
    assert simulator.faults.struck[kind] == 1
    assert received(seen) <= SENT
    assert holes_cover(seen, SENT - received(seen))


def holes_cover(seen: list[FeedEvent], missing: Counter[Trade]) -> bool:
    newest = 0
    holes: list[tuple[int, int]] = []
    since: int | None = None
    for event in seen:
        if isinstance(event, FeedLost) and since is None:
            since = newest
        elif isinstance(event, TradesReceived):
            if since is not None:
                holes.append((since, event.trades[0].at_ns))
                since = None
            newest = max(newest, event.trades[-1].at_ns)
    if since is not None:
        holes.append((since, 1 << 62))
    return all(any(start <= trade.at_ns <= end for start, end in holes) for trade in missing)


async def test_faults_in_plenty_leave_only_real_trades() -> None:
    kinds = ["duplicated_trades", "late_trades", "reordered_trades", "null_padding", "malformed_record", "reset"]
    seen, _, _ = await stream(*(Fault(kind, after_s=5, count=4, probability=0.05, seconds=2) for kind in kinds))
    assert set(received(seen)) <= set(SENT)
    assert holes_cover(seen, SENT - received(seen))


def order(**changes: Any) -> OrderRequest:
    return replace(OrderRequest(ACCOUNT, MES, OrderType.LIMIT, OrderSide.BUY, 1, limit_price=5_600.0), **changes)


@asynccontextmanager
async def still(*faults: Fault) -> AsyncIterator[tuple[Simulator, GatewayClient]]:
    """A venue that has published a hundred trades and stands still."""
    async with venue(*faults, audience="ignore") as (simulator, client):
        simulator.step(100)
        await until(lambda: simulator.progress.trades == 100)
        yield simulator, client


@pytest.mark.parametrize("kind", ["rate_limited", "unavailable_rest", "slow_rest", "hanging_rest", "lost_answer"])
async def test_a_question_is_asked_again_until_it_is_answered(kind: str) -> None:
    seconds = 0.2 if kind == "slow_rest" else None
    async with still(Fault(kind, endpoint="Account/search", count=2, seconds=seconds)) as (simulator, client):
        assert [account.account_id for account in await client.accounts()] == [ACCOUNT]
        assert simulator.faults.struck[kind] >= 1


@pytest.mark.parametrize(
    ("kind", "error", "placed"),
    [
        ("rate_limited", GatewayUnavailable, 0),
        ("unavailable_rest", OutcomeUnknown, 0),
        ("hanging_rest", OutcomeUnknown, 0),
        ("lost_answer", OutcomeUnknown, 1),
        ("refused", OrderRejected, 0),
    ],
)
async def test_an_order_is_never_sent_twice(kind: str, error: type[Exception], placed: int) -> None:
    fault = Fault(kind, endpoint="Order/place", message="no" if kind == "refused" else None)
    async with still(fault) as (_, client):
        with pytest.raises(error):
            await client.place_order(order(custom_tag="once"))
        assert [found.custom_tag for found in await client.open_orders(ACCOUNT)] == ["once"] * placed


async def test_a_lost_answer_is_found_out_by_the_orders_tag() -> None:
    async with still(Fault("lost_answer", endpoint="Order/place")) as (_, client):
        with pytest.raises(OutcomeUnknown, match=r"look for an order with custom tag 'mine' among orders\(\)"):
            await client.place_order(order(custom_tag="mine"))
        (found,) = [each for each in await client.orders(ACCOUNT, 0) if each.custom_tag == "mine"]
        await client.cancel_order(ACCOUNT, found.order_id)


async def test_a_cut_between_fill_and_bracket_is_reported_and_the_legs_are_found() -> None:
    async with still(Fault("cut_before_bracket")) as (simulator, client):
        feed = UserFeed(client, simulator.user_hub_url, [ACCOUNT], params=QUICK)
        heard: list[object] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(_listen(feed, heard))
            await until(lambda: any(isinstance(event, FeedLive) for event in heard))
            stop, target = Bracket(-400, OrderType.STOP), Bracket(400, OrderType.LIMIT)
            await client.place_order(
                order(type=OrderType.MARKET, limit_price=None, stop_loss=stop, take_profit=target, custom_tag="e")
            )
            await until(lambda: sum(isinstance(event, FeedLive) for event in heard) == 2)
            assert any(isinstance(event, FeedLost) for event in heard)
            legs = await client.orders_by_status(ACCOUNT, [OrderStatus.OPEN, OrderStatus.SUSPENDED])
            assert sorted(str(leg.custom_tag) for leg in legs) == ["e-SL", "e-TP"]
            assert [held.net for held in await client.positions(ACCOUNT)] == [1]
            await feed.aclose()


async def test_a_voided_fill_is_told_and_stays_marked() -> None:
    async with still() as (simulator, client):
        feed = UserFeed(client, simulator.user_hub_url, [ACCOUNT], params=QUICK)
        heard: list[object] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(_listen(feed, heard))
            await until(lambda: any(isinstance(event, FeedLive) for event in heard))
            await client.place_order(order(type=OrderType.MARKET, limit_price=None))
            simulator.inject(Fault("voided_trade"))
            simulator.step(1)
            await until(lambda: any(getattr(value, "voided", False) for value in _values(heard)))
            assert [fill.voided for fill in await client.fills(ACCOUNT, 0)] == [True]
            await feed.aclose()


async def test_history_with_a_missing_or_short_bar_has_no_bar_invented() -> None:
    calendar = calendar_for_contract(MES)
    ask: Callable[[GatewayClient], Awaitable[list[Any]]] = lambda client: client.bars(  # noqa: E731 - asked twice alike
        MES, MINUTE, MONDAY_1330, MONDAY_1330 + 600 * NS_PER_SECOND, calendar
    )
    async with venue(audience="ignore") as (simulator, client):
        await simulator.finished.wait()
        whole = await ask(client)
    async with venue(Fault("missing_bar"), audience="ignore") as (simulator, client):
        await simulator.finished.wait()
        holed = await ask(client)
        assert simulator.faults.struck["missing_bar"] == 1
    assert len(holed) == len(whole) - 1
    assert all(bar in whole for bar in holed)
    async with venue(Fault("wrong_partial_bar"), audience="ignore") as (simulator, client):
        await simulator.finished.wait()
        first, second = await ask(client), await ask(client)
    assert first[:-1] == whole[:-1]
    assert first[-1].volume < whole[-1].volume
    assert second == whole


async def test_neither_key_nor_token_is_written_anywhere_while_everything_fails(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens: set[str] = set()
    faults = [Fault("unauthorized_hub"), Fault("reset", after_s=20), Fault("rate_limited"), Fault("unavailable_rest")]
    async with venue(*faults) as (simulator, client):
        feed = MarketFeed(client, simulator.market_hub_url, [MES], params=QUICK)
        async for event in feed.events():
            tokens.add((await client.token()).get_secret_value())
            if isinstance(event, VenueTime) and event.at_ns >= simulator.end_ns:
                await feed.aclose()
    out, err = capfd.readouterr()
    assert len(tokens) >= 1
    for text in (caplog.text, out, err):
        assert KEY not in text
        assert not any(token in text for token in tokens)


def test_every_fault_the_venue_knows_is_tried_here() -> None:
    text = Path(__file__).read_text()
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []


async def _listen(feed: UserFeed, heard: list[object]) -> None:
    async for event in feed.events():
        heard.append(event)  # noqa: PERF401 - others read the list while it grows


def _values(heard: list[object]) -> list[object]:
    return [event.value for event in heard if isinstance(event, AccountEvent)]
