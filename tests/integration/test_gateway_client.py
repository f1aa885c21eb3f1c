"""Every call of the gateway client: against the simulated venue, and against one that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.errors import (
    GatewayError,
    GatewayProtocolError,
    GatewayUnavailable,
    InvalidInput,
    OutcomeUnknown,
)
from escapement.model import (
    NS_PER_SECOND,
    Bar,
    Bracket,
    OrderRequest,
    OrderSide,
    OrderStatus,
    OrderType,
    Timeframe,
    Trade,
)
from escapement.moments import iso_from_ns, ns_from_iso
from escapement.projectx import GatewayClient, GatewayParams
from escapement.projectx import refusals as named
from escapement.projectx.refusals import REFUSALS
from escapement.simulator import AccountSpec, Simulator, SimulatorConfig
from simulated import MES, MONDAY_1330, tape, until

KEY = "demo-key-0001"
ACCOUNT = 1001
MINUTE = Timeframe.parse("1m")
CALENDAR = calendar_for_contract(MES)
DAY = 86_400 * NS_PER_SECOND
CONFIG = SimulatorConfig(
    [MES], accounts=[AccountSpec(ACCOUNT, "PRAC-1", "demo", balance=Decimal(50_000))], audience="ignore",
    calls_limit=None, bars_limit=None,
)  # fmt: skip


def params(url: str, **changes: Any) -> GatewayParams:
    return replace(GatewayParams(url, "demo", SecretStr(KEY), timeout_s=5.0, attempts=3), **changes)


@asynccontextmanager
async def market(*prices: float, **changes: Any) -> AsyncIterator[tuple[Simulator, GatewayClient, list[Trade]]]:
    """A venue that has published these prices a second apart and stands still, with more to come; and a client."""
    trades = tape(*prices)
    later = replace(trades[-1], at_ns=trades[-1].at_ns + DAY)
    async with Simulator(replace(CONFIG, **changes), [*trades, later]) as simulator:
        simulator.step(len(trades))
        await until(lambda: simulator.progress.trades == len(trades))
        async with GatewayClient(params(simulator.base_url)) as client:
            yield simulator, client, trades


def order(**changes: Any) -> OrderRequest:
    return replace(OrderRequest(ACCOUNT, MES, OrderType.MARKET, OrderSide.BUY, 2), **changes)


async def test_accounts_and_contracts_are_found() -> None:
    async with market(5_700.0) as (_, client, _):
        await client.ping()
        (account,) = await client.accounts()
        assert (account.account_id, account.name, account.balance) == (ACCOUNT, "PRAC-1", Decimal(50_000))
        (contract,) = await client.search_contracts("mes")
        assert contract == await client.contract(MES)
        assert [contract] == await client.available_contracts()
        assert (contract.tick_size, contract.tick_value) == (Decimal("0.25"), Decimal("1.25"))
        with pytest.raises(named.ContractNotFound, match=r"Contract/searchById: code 1: .*search it"):
            await client.contract("CON.F.US.MES.Z99")


@pytest.mark.parametrize("page", [1, 2, 7, 20_000])
async def test_paged_bars_are_complete_and_each_there_once(page: int) -> None:
    prices = [5_700.0 + n % 9 for n in range(900)]  # fifteen minutes
    async with market(*prices) as (_, client, trades):
        found = await client.bars(MES, MINUTE, MONDAY_1330, MONDAY_1330 + DAY, CALENDAR, page=page)
    stage = OHLCBarAggregator({MES: CALENDAR}, [MINUTE], tolerance_ns=0)
    expected = [bar for bar in stage.push_many(trades) if isinstance(bar, Bar)]
    assert found == expected
    assert len(found) == 14  # the fifteenth is not finished


async def test_bars_are_asked_for_by_their_labels() -> None:
    async with market(*[5_700.0] * 300) as (_, client, _):
        minute = 60 * NS_PER_SECOND
        found = await client.bars(MES, MINUTE, MONDAY_1330 + minute, MONDAY_1330 + 3 * minute, CALENDAR)
        assert [bar.start_ns for bar in found] == [MONDAY_1330 + minute, MONDAY_1330 + 2 * minute]
        with pytest.raises(InvalidInput, match="4h is not asked of the venue"):
            await client.bars(MES, Timeframe.parse("4h"), 0, DAY, CALENDAR)
        with pytest.raises(named.ContractNotFound):
            await client.bars("CON.F.US.MES.H19", MINUTE, MONDAY_1330, MONDAY_1330 + DAY, CALENDAR)


async def test_a_market_order_becomes_a_position_and_a_fill() -> None:
    async with market(5_700.0, 5_700.0) as (_, client, _):
        order_id = await client.place_order(order(custom_tag="mine"))
        done = await client.order(ACCOUNT, order_id)
        assert (done.status, done.filled_size, done.custom_tag) == (OrderStatus.FILLED, 2, "mine")
        (position,) = await client.positions(ACCOUNT)
        assert (position.contract_id, position.net, position.average_price) == (MES, 2, done.filled_price)
        await client.close_position(ACCOUNT, MES, size=1)
        assert [held.net for held in await client.positions(ACCOUNT)] == [1]
        await client.close_position(ACCOUNT, MES)
        assert await client.positions(ACCOUNT) == []
        fills = await client.fills(ACCOUNT, 0)
        assert [(fill.side, fill.size, fill.profit is None) for fill in sorted(fills, key=lambda f: f.fill_id)] == [
            (OrderSide.BUY, 2, True), (OrderSide.SELL, 1, False), (OrderSide.SELL, 1, False),
        ]  # fmt: skip
        assert len(await client.orders(ACCOUNT, 0)) == 3


async def test_an_order_is_changed_and_cancelled() -> None:
    async with market(5_700.0) as (_, client, _):
        order_id = await client.place_order(order(type=OrderType.LIMIT, limit_price=5_600.0))
        await client.modify_order(ACCOUNT, order_id, size=3, limit_price=5_650.25)
        (working,) = await client.open_orders(ACCOUNT)
        assert (working.order_id, working.size, working.limit_price) == (order_id, 3, 5_650.25)
        await client.cancel_order(ACCOUNT, order_id)
        assert await client.open_orders(ACCOUNT) == []
        assert [o.order_id for o in await client.orders_by_status(ACCOUNT, [OrderStatus.CANCELLED])] == [order_id]
        with pytest.raises(named.OrderNotFound):
            await client.cancel_order(ACCOUNT, 999_999)
        with pytest.raises(InvalidInput, match="nothing to change"):
            await client.modify_order(ACCOUNT, order_id)


async def test_suspended_legs_are_found_by_status_though_not_among_open_orders() -> None:
    async with market(5_700.0) as (_, client, _):
        await client.place_order(
            order(
                type=OrderType.LIMIT, limit_price=5_600.0, custom_tag="entry",
                stop_loss=Bracket(-40, OrderType.STOP), take_profit=Bracket(80, OrderType.LIMIT),
            )
        )  # fmt: skip
        assert [o.custom_tag for o in await client.open_orders(ACCOUNT)] == ["entry"]
        legs = await client.orders_by_status(ACCOUNT, [OrderStatus.SUSPENDED])
        assert sorted(str(leg.custom_tag) for leg in legs) == ["entry-SL", "entry-TP"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "order size 0 is not positive"),
        ({"type": OrderType.LIMIT}, "LIMIT: limit_price is missing"),
        ({"limit_price": 1.0}, "MARKET: limit_price is not known"),
        ({"type": OrderType.STOP_LIMIT}, "STOP_LIMIT is not offered"),
    ],
)
def test_an_impossible_order_is_refused_before_it_is_sent(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        order(**changes)


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def venue(answer: Answer, **changes: Any) -> AsyncIterator[GatewayClient]:
    """A bare server whose log-in works and whose other calls are answered by ``answer``."""
    logins = 0

    async def login(request: web.Request) -> web.Response:
        nonlocal logins
        del request
        logins += 1
        return web.json_response({"token": f"token-{logins}", "success": True, "errorCode": 0, "errorMessage": None})

    app = web.Application()
    app.router.add_post("/api/Auth/loginKey", login)
    app.router.add_route("*", "/api/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with GatewayClient(params(f"http://127.0.0.1:{runner.addresses[0][1]}", **changes)) as client:
            yield client
    finally:
        await runner.cleanup()


CALLS: dict[str, Callable[[GatewayClient], Awaitable[object]]] = {
    "Auth/logout": lambda client: client.logout(),
    "Contract/searchById": lambda client: client.contract(MES),
    "History/retrieveBars": lambda client: client.bars(MES, MINUTE, MONDAY_1330, MONDAY_1330 + DAY, CALENDAR),
    "Order/place": lambda client: client.place_order(order()),
    "Order/modify": lambda client: client.modify_order(ACCOUNT, 1, size=2),
    "Order/cancel": lambda client: client.cancel_order(ACCOUNT, 1),
    "Order/search": lambda client: client.orders(ACCOUNT, 0),
    "Order/searchOpen": lambda client: client.open_orders(ACCOUNT),
    "Order/v2/query": lambda client: client.orders_by_status(ACCOUNT, [OrderStatus.OPEN]),
    "Order/searchById": lambda client: client.order(ACCOUNT, 1),
    "Position/searchOpen": lambda client: client.positions(ACCOUNT),
    "Position/closeContract": lambda client: client.close_position(ACCOUNT, MES),
    "Position/partialCloseContract": lambda client: client.close_position(ACCOUNT, MES, size=1),
    "Trade/search": lambda client: client.fills(ACCOUNT, 0),
}
CHANGING = ("Order/place", "Order/modify", "Order/cancel", "Position/closeContract", "Position/partialCloseContract")
CODES = [(endpoint, code) for endpoint in CALLS for code in REFUSALS[endpoint]]


@pytest.mark.parametrize(("endpoint", "code"), CODES)
async def test_every_documented_code_is_a_named_refusal_with_advice(endpoint: str, code: int) -> None:
    async def refuse(request: web.Request) -> web.Response:
        assert request.path == f"/api/{endpoint}"
        return web.json_response({"success": False, "errorCode": code, "errorMessage": "the venue's words"})

    async with venue(refuse) as client:
        with pytest.raises(REFUSALS[endpoint][code]) as caught:
            await CALLS[endpoint](client)
    assert (caught.value.endpoint, caught.value.code) == (endpoint, code)
    assert f"{endpoint}: code {code} (the venue's words): " in str(caught.value)


@pytest.mark.parametrize("endpoint", CHANGING)
@pytest.mark.parametrize("fate", ["connection cut", "server error", "no answer", "an answer of something else"])
async def test_a_change_whose_answer_is_lost_is_sent_once_and_called_unknown(endpoint: str, fate: str) -> None:
    calls = 0

    async def lose(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if fate == "connection cut":
            assert request.transport is not None
            request.transport.abort()
        elif fate == "no answer":
            await asyncio.sleep(5)
        return web.Response(status=502 if fate == "server error" else 200, text="<html>")

    async with venue(lose, timeout_s=0.3) as client:
        with pytest.raises(OutcomeUnknown, match=r"look (at|for)"):
            await CALLS[endpoint](client)
    assert calls == 1


@pytest.mark.parametrize("endpoint", ["Order/searchOpen", "History/retrieveBars"])
async def test_a_read_is_repeated_until_it_is_answered_or_given_up(endpoint: str) -> None:
    fates = [429, 503, 200]

    async def answer(request: web.Request) -> web.Response:
        del request
        status = fates.pop(0)
        body = {"orders": [], "bars": [], "success": True, "errorCode": 0, "errorMessage": None}
        return web.json_response(body, status=status)

    async with venue(answer) as client:
        assert await CALLS[endpoint](client) == []
        fates += [500, 500, 500]
        with pytest.raises(GatewayUnavailable, match=f"{endpoint}: HTTP 500"):
            await CALLS[endpoint](client)
    assert fates == []


@pytest.mark.parametrize("endpoint", ["Order/searchOpen", "Order/place"])
async def test_a_refused_token_is_replaced_once(endpoint: str) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        if len(seen) == 1:
            return web.Response(status=401)
        return web.json_response({"orders": [], "orderId": 7, "success": True, "errorCode": 0, "errorMessage": None})

    async with venue(answer) as client:
        await CALLS[endpoint](client)
    assert seen == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize(
    "body",
    ["<html>", "[]", "{}", '{"success": true, "orders": [{}]}', '{"success": true, "orders": 3}',
     '{"success": true, "orders": [null]}', '{"success": "yes"}'],
)  # fmt: skip
async def test_an_answer_that_is_not_the_gateways_is_named(body: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(text=body, content_type="application/json")

    async with venue(answer) as client:
        with pytest.raises(GatewayProtocolError, match="Order/searchOpen: "):
            await client.open_orders(ACCOUNT)


@pytest.mark.parametrize("page", [2, 500])
async def test_a_bar_of_a_time_when_the_market_is_closed_costs_none_of_the_others(page: int) -> None:
    saturday = MONDAY_1330 - 2 * DAY
    starts = [saturday, saturday + 60 * 10**9, MONDAY_1330, MONDAY_1330 + 60 * 10**9]

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        found = [at_ns for at_ns in starts if at_ns + 60 * 10**9 <= ns_from_iso(asked["endTime"])]
        bars = [{"t": iso_from_ns(at_ns), "o": 1, "h": 2, "l": 1, "c": 2, "v": 3} for at_ns in found]
        return web.json_response({"bars": bars[::-1][:page], "success": True, "errorCode": 0, "errorMessage": None})

    async with venue(answer) as client:
        bars = await client.bars(MES, MINUTE, saturday, MONDAY_1330 + DAY, CALENDAR, page=page)
    assert [bar.start_ns for bar in bars] == starts[2:]


async def test_no_error_repeats_key_or_token() -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(status=500)

    async with venue(answer, attempts=1) as client:
        for call in CALLS.values():
            with pytest.raises(GatewayError) as caught:
                await call(client)
            assert KEY not in repr(caught.value)
            assert "token-" not in repr(caught.value)


async def test_a_wrong_key_is_refused_by_name_and_not_repeated() -> None:
    async with market(5_700.0) as (simulator, _, _):
        wrong = params(simulator.base_url, api_key=SecretStr("wrong-key"))
        async with GatewayClient(wrong) as client:
            with pytest.raises(named.InvalidCredentials) as refused:
                await client.accounts()
    assert "wrong-key" not in str(refused.value)
