"""The simulated venue's hubs on the wire: SignalR, market data, events of accounts."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from escapement.model import NS_PER_SECOND
from escapement.moments import ns_from_iso
from escapement.simulator import AccountSpec, Simulator, SimulatorConfig
from escapement.simulator.hubs import Ending
from simulated import MES, MNQ, SEPARATOR, HubSocket, Json, Rest, as_sent, as_trades, hub, rest, tape, until

CONFIG = SimulatorConfig(
    [MES, MNQ],
    users={"demo": SecretStr("demo-key-0001"), "other": SecretStr("other-key-01")},
    accounts=[AccountSpec(1001, "ONE", "demo"), AccountSpec(2001, "TWO", "other")],
)
PRICES = [5700.0, 5700.25, 5700.0, 5701.0]


@asynccontextmanager
async def market(
    prices: list[float] | None = None, *, stand_at: int | None = None, **changes: Any
) -> AsyncIterator[tuple[Simulator, Rest]]:
    """A simulator of one contract and its user; it stands still after ``stand_at`` trades."""
    trades = tape(*(PRICES if prices is None else prices))
    async with Simulator(replace(CONFIG, contract_ids=[MES], **changes), trades) as simulator:
        if stand_at is not None:
            simulator.step(stand_at)
        async with rest(simulator) as caller:
            yield simulator, caller


async def test_negotiation_gives_an_id_that_works_once() -> None:
    async with market() as (simulator, caller):
        url = simulator.market_hub_url
        bearer = {"Authorization": f"Bearer {caller.token}"}
        for version, name in (
            ("", "connectionId"),
            ("?negotiateVersion=0", "connectionId"),
            ("?negotiateVersion=1", "connectionToken"),
        ):
            async with caller.session.post(f"{url}/negotiate{version}", headers=bearer) as response:
                answer = await response.json()
            assert answer["availableTransports"] == [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]
            assert ("connectionToken" in answer) == (name == "connectionToken")
            query = {"id": answer[name], "access_token": caller.token}
            async with caller.session.ws_connect(url, params=query) as socket:
                await socket.send_str('{"protocol":"json","version":1}' + SEPARATOR)
                assert await socket.receive_str() == "{}" + SEPARATOR
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await caller.session.ws_connect(url, params=query)
            assert refused.value.status == 404


async def test_hubs_want_a_token_in_the_query_or_the_header() -> None:
    async with market() as (simulator, caller):
        url = simulator.market_hub_url
        async with caller.session.post(f"{url}/negotiate?access_token=wrong") as response:
            assert response.status == 401
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await caller.session.ws_connect(f"{url}?access_token=wrong")
        assert refused.value.status == 401
        async with caller.session.ws_connect(f"{url}?access_token=wrong&access_token={caller.token}"):
            pass
        async with caller.session.ws_connect(url, headers={"Authorization": f"Bearer {caller.token}"}):
            pass
        async with caller.session.get(url, params={"access_token": caller.token}) as response:
            assert response.status == 400
        async with caller.session.get(f"{simulator.base_url}/hubs/chat") as response:
            assert response.status == 404


async def greeted(caller: Rest, url: str, text: str) -> list[str]:
    async with caller.session.ws_connect(url, params={"access_token": caller.token}) as socket:
        await socket.send_str(text)
        said = await socket.receive_str()
        async with asyncio.timeout(5):
            closed = (await socket.receive()).type if "error" in said else None
        return [said.removesuffix(SEPARATOR), "" if closed is None else closed.name]


async def test_handshakes_of_all_clients_are_taken_and_others_refused_with_a_reason() -> None:
    async with market(handshake_s=0.2) as (simulator, caller):
        url = simulator.market_hub_url
        for version in (0, 1, 2):
            assert await greeted(caller, url, f'{{"protocol":"json","version":{version}}}{SEPARATOR}') == ["{}", ""]
        for text in (
            '{"protocol":"json","version":3}', '{"protocol":"messagepack","version":1}', "hello", "[]",
            '{"protocol":"json","version":"1"}', "",
        ):  # fmt: skip
            said, closed = await greeted(caller, url, text + SEPARATOR)
            assert list(json.loads(said)) == ["error"]
            assert closed in {"CLOSE", "CLOSED"}
        assert "error" in (await greeted(caller, url, '{"protocol":"json","version":1}'))[0]  # not ended
        async with caller.session.ws_connect(url, params={"access_token": caller.token}) as silent:
            assert "error" in await silent.receive_str()
    async with market(strict_version=True) as (simulator, caller):
        said, _ = await greeted(caller, simulator.market_hub_url, f'{{"protocol":"json","version":0}}{SEPARATOR}')
        assert "error" in said


async def test_an_invocation_has_one_completion_when_it_asks_for_one() -> None:
    async with market() as (simulator, caller), hub(simulator.market_hub_url, caller) as socket:
        assert socket.records == [{}]
        assert await socket.invoke("SubscribeContractTrades", "CON.F.US.UNKNOWN.M25") == {
            "type": 3, "invocationId": "1", "result": None,
        }  # fmt: skip
        for target, arguments in (
            ("Teleport", [MES]), ("SubscribeContractTrades", []), ("SubscribeContractTrades", [5]),
            ("SubscribeOrders", [1001]), ("SubscribeContractTrades", [MES, MES]),
        ):  # fmt: skip
            answer = await socket.invoke(target, *arguments)
            assert answer["error"], target
            assert "result" not in answer
        stream = {"type": 4, "invocationId": "s", "target": "SubscribeContractTrades", "arguments": [MES]}
        await socket.say(stream, {"type": 1, "target": "Heartbeat", "arguments": [[{"timestamp": 1}]]}, {"type": 6})
        await socket.say({"type": 1, "target": "UnsubscribeContractTrades", "arguments": [MES], "headers": {"a": "b"}})
        assert (await socket.invoke("unsubscribecontractquotes", MES))["result"] is None
        completions = [record for record in socket.records if record.get("type") == 3]
        assert len(completions) == 8
        assert [each["error"] for each in completions if each["invocationId"] == "s"]
        assert not socket.ended


@pytest.mark.parametrize("text", ["{", "nonsense", "[]", "{}", '{"type":"1"}', '{"type":1.5}', "\x00", '"\\ud800"'])
async def test_a_record_that_cannot_be_read_ends_the_connection_with_a_close_record(text: str) -> None:
    async with market() as (simulator, caller), hub(simulator.market_hub_url, caller) as socket:
        await socket.socket.send_str(text + SEPARATOR)
        await until(lambda: socket.ended)
        assert socket.records[-1] == {"type": 7, "error": "Connection closed with an error."}


async def test_pings_come_at_intervals_and_silent_clients_are_dropped() -> None:
    async with market(ping_s=0.05, client_silence_s=0.4) as (simulator, caller):
        async with hub(simulator.market_hub_url, caller) as socket:
            await until(lambda: socket.ended)
            assert 4 <= sum(record == {"type": 6} for record in socket.records) <= 8
            assert socket.records[-1]["type"] == 7
        async with hub(simulator.market_hub_url, caller) as socket:
            for _ in range(6):
                await asyncio.sleep(0.1)
                await socket.say({"type": 6})
            assert not socket.ended


async def test_trades_come_as_lists_with_exactly_the_fields_of_the_venue() -> None:
    async with market() as (simulator, caller), hub(simulator.market_hub_url, caller) as socket:
        await socket.invoke("SubscribeContractTrades", MES)
        await until(simulator.finished.is_set)
        await until(lambda: len(socket.trades(MES)) == len(PRICES))
        assert socket.trades(MES)[0] == {
            "symbolId": "F.US.MES", "price": 5700.0, "timestamp": "2025-03-17T13:30:00+00:00", "type": 0, "volume": 1,
            "contractId": MES,
        }  # fmt: skip
        assert as_trades(socket.trades(MES)) == as_sent(tape(*PRICES))
        assert socket.calls("GatewayQuote") == []
        kinds = {tuple(record) for record in socket.records if record.get("target") == "GatewayTrade"}
        assert kinds == {("type", "target", "arguments")}


async def test_quotes_tell_only_what_changed_and_what_time_it_is_until_the_session_is_over() -> None:
    async with market() as (simulator, caller), hub(simulator.market_hub_url, caller) as socket:
        await socket.invoke("SubscribeContractQuotes", MES)
        await socket.invoke("SubscribeContractTrades", MES)
        await until(simulator.finished.is_set)
        close = "2025-03-17T21:00:01+00:00"
        await until(lambda: socket.calls("GatewayQuote")[-1][1]["timestamp"] == close)
    quotes = [data for _, data in socket.calls("GatewayQuote")]
    assert simulator.now_ns == simulator.end_ns == ns_from_iso(close)
    assert all(data["symbol"] == "F.US.MES" and data["contract"] == MES for data in quotes)
    times = [ns_from_iso(data["lastUpdated"]) for data in quotes]
    assert times == sorted(times)
    changes = [(data.get("bestBid"), data.get("bestAsk"), data.get("lastPrice")) for data in quotes]
    assert changes[0] == (None, None, None)
    told = [each for each in changes if each != (None, None, None)]
    assert told == [
        (5699.75, 5700.0, 5700.0),
        (5700.0, 5700.25, 5700.25),
        (5699.75, 5700.0, 5700.0),
        (5700.75, 5701.0, 5701.0),
    ]
    assert changes[-1] == (None, None, None)


async def test_depth_begins_with_a_large_snapshot() -> None:
    async with market() as (simulator, caller), hub(simulator.market_hub_url, caller) as socket:
        simulator.step(2)
        await socket.invoke("SubscribeContractTrades", MES)
        await until(lambda: simulator.progress.trades == 2)
        await socket.invoke("SubscribeContractMarketDepth", MES)
        await until(lambda: socket.calls("GatewayDepth"))
        (own, rows) = socket.calls("GatewayDepth")[0]
        assert own == MES
        assert len(json.dumps(rows)) > 10_000
        assert rows[0]["type"] == 6
        assert {row["type"] for row in rows[1:]} == {1, 2}
        assert max(row["price"] for row in rows if row["type"] == 2) == 5700.0
        simulator.resume()
        await until(lambda: len(socket.calls("GatewayDepth")) == 3)
        assert {row["type"] for row in socket.calls("GatewayDepth")[-1][1]} == {3, 4, 5}


async def test_a_replay_waits_for_its_audience_and_for_nobody_in_particular_after_a_while() -> None:
    both = [*tape(*PRICES), *tape(*PRICES, contract_id=MNQ)]
    async with (
        Simulator(replace(CONFIG, settle_s=0.2), both) as simulator,
        rest(simulator) as caller,
        hub(simulator.market_hub_url, caller) as socket,
    ):
        assert simulator.progress.trades == 0
        await socket.invoke("SubscribeContractTrades", MES)
        await until(simulator.finished.is_set)
        assert len(socket.trades(MES)) == len(PRICES)
        assert socket.trades(MNQ) == []


async def test_a_slow_reader_at_full_speed_loses_nothing_and_makes_the_venue_wait() -> None:
    many = tape(*(5700 + (step % 40) / 4 for step in range(120_000)), step_s=0.01)
    config = replace(CONFIG, contract_ids=[MES])
    async with Simulator(config, many) as simulator, rest(simulator) as caller:
        url = simulator.market_hub_url
        async with caller.session.ws_connect(url, params={"access_token": caller.token}, max_msg_size=0) as socket:
            await socket.send_str('{"protocol":"json","version":1}' + SEPARATOR)
            subscribe = {"type": 1, "target": "SubscribeContractTrades", "arguments": [MES]}
            await socket.send_str(json.dumps(subscribe) + SEPARATOR)
            await until(lambda: simulator.progress.trades > 0)
            reached = -1
            while reached != simulator.progress.trades:  # until the venue stands still
                reached = simulator.progress.trades
                await asyncio.sleep(0.1)
            assert 0 < reached < len(many), "the whole tape went into buffers"
            received: list[Json] = []
            while len(received) < len(many):
                for part in (await socket.receive_str()).split(SEPARATOR):
                    record = json.loads(part) if part else {}
                    received += record["arguments"][1] if record.get("target") == "GatewayTrade" else []
            assert as_trades(received) == as_sent(many)


async def test_a_client_that_takes_nothing_is_dropped_and_the_others_go_on() -> None:
    many = tape(*(5700 + (step % 40) / 4 for step in range(120_000)), step_s=0.01)
    config = replace(CONFIG, contract_ids=[MES], stuck_s=0.3)
    async with Simulator(config, many) as simulator, rest(simulator) as caller:
        url = simulator.market_hub_url
        async with caller.session.ws_connect(url, params={"access_token": caller.token}) as stuck:
            await stuck.send_str('{"protocol":"json","version":1}' + SEPARATOR)
            simulator.pause()
            subscribe = {"type": 1, "target": "SubscribeContractTrades", "arguments": [MES]}
            await stuck.send_str(json.dumps(subscribe) + SEPARATOR)
            async with hub(url, caller) as good:
                await good.invoke("SubscribeContractTrades", MES)
                simulator.resume()
                await until(simulator.finished.is_set, 60)
                await until(lambda: len(good.trades(MES)) == len(many))
                assert len(simulator._hubs["market"].connections) == 1


async def test_leaving_does_not_wait_for_a_client_that_takes_nothing() -> None:
    many = tape(*(5700 + (step % 40) / 4 for step in range(120_000)), step_s=0.01)
    async with Simulator(replace(CONFIG, contract_ids=[MES]), many) as simulator, rest(simulator) as caller:
        url = simulator.market_hub_url
        async with caller.session.ws_connect(url, params={"access_token": caller.token}) as stuck:
            await stuck.send_str('{"protocol":"json","version":1}' + SEPARATOR)
            subscribe = {"type": 1, "target": "SubscribeContractTrades", "arguments": [MES]}
            await stuck.send_str(json.dumps(subscribe) + SEPARATOR)
            reached = -1
            while reached != simulator.progress.trades or not reached:  # until the venue stands still
                reached = simulator.progress.trades
                await asyncio.sleep(0.1)
            begun = asyncio.get_running_loop().time()
            await simulator.__aexit__(None, None, None)
            assert asyncio.get_running_loop().time() - begun < 5


async def test_pausing_stepping_and_changing_speed_move_the_venue() -> None:
    prices = [5700.0 + step for step in range(10)]
    async with market(prices, speed=1.0) as (simulator, caller), hub(simulator.market_hub_url, caller) as socket:
        simulator.pause()
        await socket.invoke("SubscribeContractTrades", MES)
        simulator.step(3)
        await until(lambda: len(socket.trades(MES)) == 3)
        await asyncio.sleep(0.1)
        assert simulator.progress.trades == 3
        simulator.step()
        await until(lambda: len(socket.trades(MES)) == 4)
        simulator.set_speed(100.0)
        simulator.resume()
        await until(simulator.finished.is_set)
        assert [trade["price"] for trade in socket.trades(MES)] == prices


async def test_speed_is_kept() -> None:
    prices = [5700.0 + step for step in range(61)]
    async with market(prices, speed=60.0) as (simulator, caller), hub(simulator.market_hub_url, caller) as socket:
        await socket.invoke("SubscribeContractTrades", MES)
        begun = asyncio.get_running_loop().time()
        await until(simulator.finished.is_set)
        assert 0.9 < asyncio.get_running_loop().time() - begun < 2.0


async def test_time_that_nobody_listened_does_not_pass_where_everybody_is_waited_for() -> None:
    prices = [5700.0 + step for step in range(120)]
    async with market(prices, speed=60.0, audience="always") as (simulator, caller):
        async with hub(simulator.market_hub_url, caller) as first:
            await first.invoke("SubscribeContractTrades", MES)
            await until(lambda: len(first.trades(MES)) > 10)
        await until(lambda: not simulator._hubs["market"].connections)
        left = simulator.now_ns
        await asyncio.sleep(0.5)  # half a minute of the venue's time
        async with hub(simulator.market_hub_url, caller) as second:
            await second.invoke("SubscribeContractTrades", MES)
            await until(lambda: second.trades(MES))
            assert simulator.now_ns - left < 15 * NS_PER_SECOND
            simulator.set_speed(None)
            await until(simulator.finished.is_set)
            assert len(first.trades(MES)) + len(second.trades(MES)) >= len(prices) - 5


async def user_hub(simulator: Simulator, socket: HubSocket) -> None:
    await socket.invoke("SubscribeAccounts")
    for kind in ("Orders", "Positions", "Trades"):
        assert (await socket.invoke(f"Subscribe{kind}", 1001))["result"] is None
    assert "error" in await socket.invoke("SubscribeOrders", 2001)
    assert "error" in await socket.invoke("SubscribeOrders", "1001")
    assert "error" in await socket.invoke("SubscribeAccounts", 1)
    assert simulator.venue.accounts


async def buy(caller: Rest, **more: object) -> Json:
    wanted = {"accountId": 1001, "contractId": MES, "type": 2, "side": 0, "size": 1}
    return await caller.post("Order/place", **(wanted | more))


async def test_the_user_hub_tells_what_happens_wrapped_and_without_nulls() -> None:
    async with market(audience="ignore", stand_at=2) as (simulator, caller):
        await until(lambda: simulator.progress.trades == 2)
        async with hub(simulator.user_hub_url, caller) as socket:
            await user_hub(simulator, socket)
            order_id = (await buy(caller, customTag="t"))["orderId"]
            await until(lambda: socket.calls("GatewayUserAccount"))
            orders = [data for (data,) in socket.calls("GatewayUserOrder")]
            assert [order["data"]["status"] for order in orders] == [6, 2]
            assert orders[0]["action"] == 1
            assert orders[1]["data"].keys() == {
                "id", "accountId", "contractId", "symbolId", "creationTimestamp", "updateTimestamp", "status", "type",
                "side", "size", "fillVolume", "filledPrice", "customTag",
            }  # fmt: skip
            (((trade,),), ((position,),), ((account,),)) = (
                socket.calls(f"GatewayUser{kind}") for kind in ("Trade", "Position", "Account")
            )
            assert (trade["action"], trade["data"]["orderId"], "profitAndLoss" in trade["data"]) == (0, order_id, False)
            assert (trade["data"]["fees"], trade["data"]["commissions"]) == (0.36, 0.25)
            assert (position["data"]["contractDisplayName"], position["data"]["type"]) == ("MESM5", 1)
            assert (account["action"], account["data"]["balance"]) == (1, 50_000 - 0.61)
            await caller.post("Position/closeContract", accountId=1001, contractId=MES)
            await until(lambda: len(socket.calls("GatewayUserPosition")) == 2)
            closed = socket.calls("GatewayUserPosition")[-1][0]
            assert (closed["action"], closed["data"]["type"], closed["data"]["size"]) == (2, 0, 0)
            for kind in ("Orders", "Positions", "Trades"):
                await socket.invoke(f"Unsubscribe{kind}", 1001)
            await socket.invoke("UnsubscribeAccounts")
            count = len(socket.records)
            await buy(caller)
            assert (await socket.invoke("SubscribeAccounts"))["result"] is None
            assert len(socket.records) == count + 1


async def test_events_can_come_bare_and_fills_are_told_while_the_tape_runs() -> None:
    fast = market([5700.0, 5690.0, 5689.0], stand_at=1, wrap_events=False, audience="ignore")
    async with fast as (simulator, caller), hub(simulator.user_hub_url, caller) as socket:
        await user_hub(simulator, socket)
        await until(lambda: simulator.progress.trades == 1)
        order_id = (await buy(caller, type=1, limitPrice=5690.0))["orderId"]
        simulator.resume()
        await until(lambda: socket.calls("GatewayUserTrade"))
        ((trade,),) = socket.calls("GatewayUserTrade")
        assert (trade["orderId"], trade["price"]) == (order_id, 5690.0)


async def test_users_hear_nothing_of_one_another() -> None:
    async with (
        market(audience="ignore", stand_at=2) as (simulator, caller),
        rest(simulator, "other", "other-key-01") as other,
        hub(simulator.user_hub_url, other) as socket,
    ):
        await socket.invoke("SubscribeAccounts")
        await socket.invoke("SubscribeOrders", 2001)
        await buy(caller)
        await buy(other, accountId=2001)
        await socket.invoke("SubscribeAccounts")
        assert [data["data"]["accountId"] for (data,) in socket.calls("GatewayUserOrder")] == [2001, 2001]


async def test_no_token_or_key_reaches_a_log_at_any_level(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with market(token_lifetime_s=3_600, ping_s=0.02, stuck_s=0.2) as (simulator, caller):
        url = simulator.market_hub_url
        bearer = {"Authorization": f"Bearer {caller.token}"}
        async with hub(url, caller) as socket:
            await socket.say({"type": 1, "target": "x", "arguments": [], "headers": bearer})
            await socket.invoke("SubscribeContractTrades", MES)
            await until(simulator.finished.is_set)
            await socket.socket.send_str("{" + SEPARATOR)
            await until(lambda: socket.ended)
        endings: list[Ending] = ["reset", "close", "close_for_good"]
        for how in endings:
            async with hub(url, caller) as socket:
                await simulator.end_connections(how)
                while not socket.ended:  # noqa: ASYNC110 - the collecting task says so
                    await asyncio.sleep(0.005)
        await caller.raw("Auth/loginKey", {"userName": "demo", "apiKey": "demo-key-0001", "more": 1})
        await caller.raw("Auth/loginKey", {"userName": "demo", "apiKey": ["demo-key-0001"]})
        await caller.post("Auth/validate")
        simulator.expire_tokens()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await caller.session.ws_connect(url, params={"access_token": caller.token})
        async with caller.session.post(f"{url}/negotiate", headers=bearer) as response:
            assert response.status == 401
        secrets = [caller.token, caller.token.split(".")[2], "demo-key-0001", repr(CONFIG)]
        assert "demo-key-0001" not in repr(simulator.__dict__)
    out, err = capfd.readouterr()
    logged = out + err + caplog.text
    assert "replay_finished" in logged
    assert not [secret for secret in secrets if secret in logged]
    assert "demo-key-0001" not in secrets[-1]


async def test_leaving_ends_connections_with_leave_to_come_back() -> None:
    async with market() as (simulator, caller), hub(simulator.market_hub_url, caller) as socket:
        await simulator.__aexit__(None, None, None)
        await until(lambda: socket.ended)
        assert socket.records[-1] == {"type": 7, "error": "Connection closed with an error.", "allowReconnect": True}
        assert simulator.now_ns % NS_PER_SECOND == 0
