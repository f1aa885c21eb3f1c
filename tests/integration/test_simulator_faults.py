"""Each fault of the simulated venue does on the wire what its name says, once, and again for the same seed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from escapement.errors import InvalidInput
from escapement.simulator import Fault, Simulator, SimulatorConfig
from escapement.simulator.faults import KINDS
from escapement.simulator.scenario import fault_from, fault_from_text, read_scenario
from simulated import MES, HubSocket, Json, Rest, as_sent, as_trades, hub, rest, tape, until

PRICES = [5700.0 + step for step in range(8)]
TAPE = tape(*PRICES)  # a trade a second, so each is a batch of its own
SENT = as_sent(TAPE)
CONFIG = SimulatorConfig([MES], calls_limit=None, bars_limit=None)
BUY = {"accountId": 1001, "contractId": MES, "type": 2, "side": 0, "size": 1}


@asynccontextmanager
async def faulty(*faults: Fault, **changes: Any) -> AsyncIterator[tuple[Simulator, Rest]]:
    config = replace(CONFIG, faults=faults, **changes)
    async with Simulator(config, TAPE) as simulator, rest(simulator) as caller:
        yield simulator, caller


async def received(*faults: Fault, trades: Any = TAPE) -> HubSocket:
    """What a client gets of the whole tape."""
    config = replace(CONFIG, faults=faults)
    async with (
        Simulator(config, trades) as simulator,
        rest(simulator) as caller,
        hub(simulator.market_hub_url, caller) as socket,
    ):
        await socket.invoke("SubscribeContractTrades", MES)
        await until(simulator.finished.is_set)
        await socket.invoke("Heartbeat")  # everything before it has arrived when it is answered
    return socket


async def test_missed_trades_never_come() -> None:
    socket = await received(Fault("missed_trades", after_s=2, count=2))
    assert as_trades(socket.trades(MES)) == SENT[:2] + SENT[4:]


async def test_duplicated_trades_come_twice() -> None:
    socket = await received(Fault("duplicated_trades", count=1))
    assert as_trades(socket.trades(MES)) == [SENT[0], *SENT]


async def test_late_trades_come_later_by_the_venue_s_clock() -> None:
    socket = await received(Fault("late_trades", seconds=3.0))
    assert as_trades(socket.trades(MES)) == [*SENT[1:4], SENT[0], *SENT[4:]]


async def test_trades_held_back_at_the_end_still_come() -> None:
    socket = await received(Fault("late_trades", count=100, seconds=1e6))
    assert sorted(as_trades(socket.trades(MES))) == SENT


async def test_reordered_trades_come_in_another_order() -> None:
    assert as_trades((await received(Fault("reordered_trades"))).trades(MES)) == [SENT[1], SENT[0], *SENT[2:]]
    batch = tape(*PRICES, step_s=0.01)
    socket = await received(Fault("reordered_trades"), trades=batch)
    assert as_trades(socket.trades(MES)) == as_sent(batch)[::-1]


async def test_null_padding_stands_around_the_trades() -> None:
    socket = await received(Fault("null_padding"))
    lists = [items for _, items in socket.calls("GatewayTrade")]
    assert [item is None for item in lists[0]] == [True, False, True]
    assert as_trades(socket.trades(MES)) == SENT


async def test_a_malformed_record_is_no_json_and_the_trades_still_come() -> None:
    config = replace(CONFIG, faults=[Fault("malformed_record")])
    async with Simulator(config, TAPE) as simulator, rest(simulator) as caller:
        url = simulator.market_hub_url
        async with caller.session.ws_connect(url, params={"access_token": caller.token}) as socket:
            await socket.send_str('{"protocol":"json","version":1}\x1e')
            await socket.send_str(
                json.dumps({"type": 1, "target": "SubscribeContractTrades", "arguments": [MES]}) + "\x1e"
            )
            parts: list[str] = []
            while sum("5707" in part for part in parts) == 0:
                parts += filter(None, (await socket.receive_str()).split("\x1e"))
    broken = [part for part in parts if not _is_json(part)]
    assert broken == ['{"type":1,"target":"GatewayTrade","arguments":["' + MES + '",[{"pri']
    assert sum("GatewayTrade" in part for part in parts) == len(TAPE) + 1


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


async def test_an_oversized_record_is_as_large_as_asked() -> None:
    socket = await received(Fault("oversized_record", size=3_000_000))
    (depth,) = socket.calls("GatewayDepth")
    assert len(json.dumps(depth, separators=(",", ":"))) >= 3_000_000
    assert as_trades(socket.trades(MES)) == SENT


@pytest.mark.parametrize("pings", [False, True])
async def test_a_freeze_leaves_sockets_open_and_silent(*, pings: bool) -> None:
    freeze = Fault("freeze", after_s=3, hub="market", pings=pings)
    async with faulty(freeze, ping_s=0.05) as (simulator, caller):
        async with hub(simulator.market_hub_url, caller) as socket:
            await socket.invoke("SubscribeContractTrades", MES)
            await until(simulator.finished.is_set)
            seen = len(socket.records)
            await asyncio.sleep(0.3)
            more = socket.records[seen:]
            assert bool(more) is pings
            assert all(record == {"type": 6} for record in more)
            assert not socket.ended
            assert 0 < len(socket.trades(MES)) < len(TAPE)
        async with hub(simulator.market_hub_url, caller) as socket:
            assert (await socket.invoke("SubscribeContractQuotes", MES))["result"] is None
            await until(lambda: socket.calls("GatewayQuote"))


async def test_a_freeze_can_thaw_by_itself() -> None:
    run = faulty(Fault("freeze", seconds=0.5, pings=True), speed=5.0)
    async with run as (simulator, caller), hub(simulator.market_hub_url, caller) as socket:
        await socket.invoke("SubscribeContractTrades", MES)
        await until(simulator.finished.is_set)
        await until(lambda: socket.trades(MES) and socket.trades(MES)[-1]["price"] == PRICES[-1])
        assert 2 <= len(socket.trades(MES)) < len(TAPE)


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        ("disconnect", {"type": 7, "error": "Connection closed with an error.", "allowReconnect": True}),
        ("disconnect_for_good", {"type": 7, "error": "Connection closed with an error."}),
        ("reset", None),
    ],
)
async def test_connections_end_as_their_fault_says(kind: str, last: Json | None) -> None:
    async with (
        faulty(Fault(kind, hub="market")) as (simulator, caller),
        hub(simulator.user_hub_url, caller) as user,
        hub(simulator.market_hub_url, caller) as socket,
    ):
        await socket.invoke("SubscribeContractTrades", MES)
        await until(lambda: socket.ended)
        if last is not None:
            assert socket.records[-1] == last
        else:
            assert all(record.get("type") != 7 for record in socket.records)
            assert socket.socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
        assert not user.ended


async def test_a_hub_refuses_a_good_token_once() -> None:
    async with faulty(Fault("unauthorized_hub")) as (simulator, caller):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await caller.session.ws_connect(simulator.market_hub_url, params={"access_token": caller.token})
        assert refused.value.status == 401
        async with hub(simulator.market_hub_url, caller):
            pass


async def test_tokens_expire_for_calls_and_new_connections_but_open_ones_live_on() -> None:
    async with faulty(Fault("expired_tokens")) as (simulator, caller), hub(simulator.market_hub_url, caller) as socket:
        await socket.invoke("SubscribeContractTrades", MES)
        await until(simulator.finished.is_set)
        assert (await caller.raw("Account/search", {"onlyActiveAccounts": True}))[0] == 401
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await caller.session.ws_connect(simulator.market_hub_url, params={"access_token": caller.token})
        assert len(socket.trades(MES)) == len(TAPE)


@pytest.mark.parametrize(("kind", "status"), [("rate_limited", 429), ("unavailable_rest", 503)])
async def test_calls_fail_as_their_fault_says_without_being_carried_out(kind: str, status: int) -> None:
    async with faulty(Fault(kind, endpoint="Order/place", count=2), audience="ignore") as (simulator, caller):
        await until(lambda: simulator.venue.quotes)
        assert (await caller.raw("Account/search", {"onlyActiveAccounts": True}))[0] == 200
        assert [(await caller.raw("Order/place", BUY))[0] for _ in range(3)] == [status, status, 200]
        assert len(simulator.venue.orders) == 1


async def test_a_slow_call_is_answered_late_and_others_are_not() -> None:
    async with faulty(Fault("slow_rest", endpoint="Account/search", seconds=0.4)) as (_, caller):
        for least, most in ((0.4, 2.0), (0.0, 0.3)):
            begun = time.monotonic()
            assert (await caller.raw("Account/search", {"onlyActiveAccounts": True}))[0] == 200
            assert least <= time.monotonic() - begun < most


async def test_a_hanging_call_is_not_answered_and_leaving_does_not_wait_for_it() -> None:
    async with faulty(Fault("hanging_rest", endpoint="Account/search")) as (_, caller):
        call = asyncio.create_task(caller.raw("Account/search", {"onlyActiveAccounts": True}))
        await asyncio.sleep(0.2)
        assert not call.done()
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    with pytest.raises(aiohttp.ClientError):
        await call


async def test_a_lost_answer_is_of_a_call_that_was_carried_out() -> None:
    async with faulty(Fault("lost_answer", endpoint="Order/place"), audience="ignore") as (simulator, caller):
        await until(lambda: simulator.venue.quotes)
        with pytest.raises(aiohttp.ClientConnectionError):
            await caller.raw("Order/place", BUY)
        assert [int(order.status) for order in simulator.venue.orders.values()] in ([2], [5])
        orders = await caller.post("Order/search", accountId=1001, startTimestamp="2025-03-01T00:00:00Z")
        assert len(orders["orders"]) == 1


async def test_the_user_hub_goes_dead_between_a_fill_and_its_bracket() -> None:
    brackets = {"stopLossBracket": {"ticks": -8, "type": 4}, "takeProfitBracket": {"ticks": 8, "type": 1}}
    config = replace(CONFIG, faults=[Fault("cut_before_bracket")], audience="ignore")
    async with Simulator(config, TAPE) as simulator:
        simulator.step(2)
        async with rest(simulator) as caller, hub(simulator.user_hub_url, caller) as socket:
            await socket.invoke("SubscribeOrders", 1001)
            await until(lambda: simulator.progress.trades == 2)
            await caller.post("Order/place", **(BUY | brackets))
            await until(lambda: socket.ended)
            assert [data["data"]["status"] for (data,) in socket.calls("GatewayUserOrder")] == [6, 8, 8, 2]
            legs = (await caller.post("Order/searchOpen", accountId=1001))["orders"]
            assert [leg["type"] for leg in legs] == [4, 1]


async def test_a_voided_trade_is_told_and_shown() -> None:
    config = replace(CONFIG, audience="ignore")
    async with Simulator(config, TAPE) as simulator:
        simulator.step(2)
        async with rest(simulator) as caller, hub(simulator.user_hub_url, caller) as socket:
            await socket.invoke("SubscribeTrades", 1001)
            await until(lambda: simulator.progress.trades == 2)
            await caller.post("Order/place", **BUY)
            simulator.inject(Fault("voided_trade"))
            simulator.step()
            await until(lambda: len(socket.calls("GatewayUserTrade")) == 2)
            told = [data["data"] for (data,) in socket.calls("GatewayUserTrade")]
            assert [trade["voided"] for trade in told] == [False, True]
            assert told[0]["id"] == told[1]["id"]
            found = await caller.post("Trade/search", accountId=1001, startTimestamp="2025-03-01T00:00:00Z")
            assert [trade["voided"] for trade in found["trades"]] == [True]
            assert (await caller.post("Position/searchOpen", accountId=1001))["positions"] == []


async def bars(caller: Rest) -> list[Json]:
    times = {"startTime": "2025-03-17T00:00:00Z", "endTime": "2025-03-18T00:00:00Z", "limit": 100}
    kind = {"contractId": MES, "live": False, "unit": 2, "unitNumber": 1, "includePartialBar": False}
    found: list[Json] = (await caller.post("History/retrieveBars", **times, **kind))["bars"]
    return found


async def test_history_lacks_a_bar_for_good_or_gives_a_wrong_newest_one_once() -> None:
    minutes = tape(*PRICES, step_s=60)
    async with Simulator(replace(CONFIG, audience="ignore"), minutes) as simulator, rest(simulator) as caller:
        await until(simulator.finished.is_set)
        right = await bars(caller)
        assert len(right) == len(PRICES)
        simulator.inject(Fault("wrong_partial_bar"))
        wrong = await bars(caller)
        assert wrong[1:] == right[1:]
        assert wrong[0]["t"] == right[0]["t"]
        assert wrong[0]["v"] < right[0]["v"]
        assert await bars(caller) == right
        simulator.inject(Fault("missing_bar"))
        less = await bars(caller)
        assert len(less) == len(right) - 1
        assert await bars(caller) == less


async def test_the_same_seed_brings_the_same_faults_at_the_same_places() -> None:
    faults = [
        Fault("missed_trades", probability=0.2, count=50), Fault("duplicated_trades", probability=0.3, count=50),
        Fault("late_trades", probability=0.2, count=50, seconds=4.0),
    ]  # fmt: skip
    long = tape(*(5700.0 + step for step in range(100)))

    async def once(seed: int) -> list[Any]:
        config = replace(CONFIG, faults=faults, seed=seed)
        async with (
            Simulator(config, long) as simulator,
            rest(simulator) as caller,
            hub(simulator.market_hub_url, caller) as socket,
        ):
            await socket.invoke("SubscribeContractTrades", MES)
            await until(simulator.finished.is_set)
            await socket.invoke("Heartbeat")
        return as_trades(socket.trades(MES))

    first = await once(1)
    assert first == await once(1)
    assert first != await once(2)
    assert set(first) < set(as_sent(long))


def test_every_kind_has_its_test_here() -> None:
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123 - this file
        text = file.read()
    elsewhere = {"refused"}  # with the codes of REST
    assert [kind for kind in KINDS if f'"{kind}"' not in text and kind not in elsewhere] == []


def test_faults_are_read_from_text_and_scenarios_from_files(tmp_path: Any) -> None:
    assert fault_from_text("freeze:after_s=60,seconds=20,pings=true") == Fault("freeze", 60.0, seconds=20.0, pings=True)
    assert fault_from({"kind": "reset", "hub": "user"}) == Fault("reset", hub="user")
    for text in (
        "earthquake",
        "freeze:when=3",
        "freeze:count=many",
        "reset:hub=depth",
        "reset:probability=2",
        "reset:count=0",
    ):
        with pytest.raises(InvalidInput):
            fault_from_text(text)
    file = tmp_path / "scenario.yaml"
    file.write_text(
        "seed: 5\nusers: {me: key-0123456789}\naccounts: [{account_id: 7, name: SEVEN, user: me, balance: 1000.5}]\n"
        "fills: {spread_ticks: 2}\nrules: {signed_brackets: true}\nfaults: [reset, {kind: freeze, after_s: 3}]\n"
    )
    scenario = read_scenario(file)
    assert scenario.faults == (Fault("reset"), Fault("freeze", 3.0))
    assert (scenario.accounts[0].name, str(scenario.accounts[0].balance)) == ("SEVEN", "1000.5")
    for content, said in (
        ("faults: [{kind: freeze, when: 3}]", "faults.0.when"), ("users: {me: [1]}", "users.me"), ("a: b", "a:"),
        ("fills: {spread_ticks: -1}", "spread_ticks -1 is below 0"), ("[", "is not YAML"),
    ):  # fmt: skip
        file.write_text(content)
        with pytest.raises(InvalidInput, match=r"scenario\.yaml") as refused:
            read_scenario(file)
        assert said in str(refused.value)
    with pytest.raises(InvalidInput, match="name a scenario file that can be read"):
        read_scenario(tmp_path / "none.yaml")
