"""Every REST call of the simulated venue over a socket: envelopes, codes, limits, quirks."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Trade
from escapement.moments import iso_from_ns, ns_from_iso
from escapement.simulator import (
    AccountSpec,
    Fault,
    RateLimit,
    Simulator,
    SimulatorConfig,
    contract_facts,
)
from simulated import ENDPOINTS, MES, MNQ, MONDAY_1330, Json, Rest, hub, rest, tape, until

HOUR = 3_600 * NS_PER_SECOND
MINE = AccountSpec(1001, "PRAC-1", "demo", balance=Decimal(50_000))
OLD = replace(contract_facts("CON.F.US.MES.H25"), active=False)
CONFIG = SimulatorConfig(
    [MES, MNQ, OLD.contract_id],
    users={"demo": SecretStr("demo-key-0001"), "other": SecretStr("other-key-01")},
    accounts=[MINE, AccountSpec(1002, "PRAC-2", "demo", can_trade=False), AccountSpec(2001, "OTHER", "other")],
    contracts=[OLD],
    audience="ignore",
    calls_limit=None,
    bars_limit=None,
)


@asynccontextmanager
async def paused(trades: list[Trade] | None = None, **changes: Any) -> AsyncIterator[tuple[Simulator, Rest]]:
    """A simulator that has published its tape and stands still, and its user."""
    own = tape(5700.0, 5700.25, 5701.0) if trades is None else trades
    # The last trade waits a day later, so that the session stays open.
    waiting = replace(own[-1], at_ns=own[-1].at_ns + 24 * HOUR)
    async with Simulator(replace(CONFIG, **changes), [*own, waiting]) as simulator:
        simulator.step(len(own))
        await until(lambda: simulator.progress.trades == len(own))
        async with rest(simulator) as caller:
            yield simulator, caller


async def test_logging_in_answers_by_its_codes() -> None:
    async with paused() as (_, caller):
        assert await caller.post("Auth/loginKey", userName="DEMO", apiKey="demo-key-0001") | {"token": 0} == {
            "token": 0, "success": True, "errorCode": 0, "errorMessage": None,
        }  # fmt: skip
        for user, key in (("demo", "wrong"), ("nobody", "demo-key-0001")):
            refused = await caller.post("Auth/loginKey", userName=user, apiKey=key)
            assert refused == {"token": None, "success": False, "errorCode": 3, "errorMessage": None}
        assert (await caller.post("Auth/loginApp", userName="demo"))["errorCode"] == 4
        status, body = await caller.raw("Auth/loginKey", {"userName": "demo"})
        assert status == 400
        assert json.loads(body)["errors"] == {"apiKey": ["The field is required."]}


async def test_a_session_is_renewed_and_ended_without_touching_others() -> None:
    async with paused() as (simulator, caller):
        renewed = (await caller.post("Auth/validate"))["newToken"]
        first, caller.token = caller.token, renewed
        assert (await caller.post("Auth/logout"))["success"]
        assert (await caller.raw("Account/search", {"onlyActiveAccounts": True}))[0] == 401
        caller.token = first
        assert (await caller.post("Account/search", onlyActiveAccounts=True))["success"]
        simulator.expire_tokens()
        assert (await caller.raw("Account/search", {"onlyActiveAccounts": True}))[0] == 401


async def test_a_token_expires_by_itself() -> None:
    async with paused(token_lifetime_s=0.3) as (_, caller):
        statuses: list[int] = []
        while not statuses or statuses[-1] == 200:
            statuses.append((await caller.raw("Account/search", {"onlyActiveAccounts": True}))[0])
        assert statuses[0] == 200
        assert statuses[-1] == 401


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_every_endpoint_wants_a_session_a_fitting_body_and_no_certain_case(endpoint: str) -> None:
    async with paused() as (_, caller):
        body = ENDPOINTS[endpoint]
        assert (await caller.raw(endpoint, body, headers={}))[0] == 401
        status, text = await caller.raw(endpoint.upper(), body)
        assert status == 200
        assert {"success", "errorCode", "errorMessage"} < set(json.loads(text)) | {"one more"}
        for name in body:
            less = {each: value for each, value in body.items() if each != name}
            status, text = await caller.raw(endpoint, less)
            assert status == 400, f"{endpoint} without {name}"
            assert list(json.loads(text)["errors"]) == [name]
            assert (await caller.raw(endpoint, body | {name: [1]}))[0] == 400, f"{endpoint} with a list as {name}"
        assert (await caller.raw(endpoint, [1, 2]))[0] == 400
        async with caller.session.get(f"{caller.base_url}/api/{endpoint}") as response:
            assert response.status == 404


async def test_ping_needs_no_session_and_unknown_paths_are_not_found() -> None:
    async with paused() as (simulator, caller), caller.session.get(f"{simulator.base_url}/api/Status/ping") as response:
        assert response.status == 200
        assert (await caller.raw("Order/teleport", {}))[0] == 404


async def test_calls_beyond_the_limits_are_answered_429_by_endpoint_class() -> None:
    async with paused(bars_limit=RateLimit(3, 60.0), calls_limit=RateLimit(5, 60.0)) as (_, caller):
        bars = [(await caller.raw("History/retrieveBars", ENDPOINTS["History/retrieveBars"]))[0] for _ in range(5)]
        assert bars == [200, 200, 200, 429, 429]
        calls = [(await caller.raw("Order/searchOpen", {"accountId": 1001}))[0] for _ in range(6)]
        assert calls == [200, 200, 200, 200, 200, 429]


async def test_contracts_are_found_by_text_and_id() -> None:
    async with paused() as (_, caller):
        found = await caller.post("Contract/search", searchText="nasdaq", live=False)
        assert found["contracts"] == [
            {
                "id": MNQ, "name": "MNQM5", "description": "Micro E-mini Nasdaq-100: June 2025", "tickSize": 0.25,
                "tickValue": 0.5, "activeContract": True, "symbolId": "F.US.MNQ",
            }
        ]  # fmt: skip
        assert (await caller.post("Contract/search", searchText="MES", live=True))["contracts"] == []
        ids = [each["id"] for each in (await caller.post("Contract/available", live=False))["contracts"]]
        assert ids == [MES, MNQ]
        expired = await caller.post("Contract/searchById", contractId=OLD.contract_id)
        assert expired["contract"]["activeContract"] is False
        assert await caller.post("Contract/searchById", contractId="CON.F.US.XX.M25") == {
            "contract": None, "success": False, "errorCode": 1, "errorMessage": None,
        }  # fmt: skip


async def test_a_search_finds_at_most_twenty() -> None:
    many = [f"CON.F.US.MES.{month}{year}" for month in "HMUZ" for year in range(25, 31)]
    async with paused(contract_ids=[*many, MNQ]) as (_, caller):
        assert len((await caller.post("Contract/search", searchText="MES", live=False))["contracts"]) == 20


async def bars_of(caller: Rest, start: str, end: str, unit: int, number: int, **more: object) -> list[Json]:
    wanted = {"contractId": MES, "live": False, "limit": 20_000, "includePartialBar": False} | more
    times = {"startTime": start, "endTime": end, "unit": unit, "unitNumber": number}
    found: list[Json] = (await caller.post("History/retrieveBars", **(wanted | times)))["bars"]
    return found


async def test_minute_bars_come_newest_first_when_label_and_length_are_before_the_end() -> None:
    minutes = tape(*range(5700, 5705), step_s=60)
    async with paused(minutes) as (_, caller):
        all_ = await bars_of(caller, "2025-03-17T00:00:00Z", "2025-03-19T00:00:00Z", 2, 1)
        assert [bar["t"][11:16] for bar in all_] == ["13:33", "13:32", "13:31", "13:30"]  # 13:34 is not over
        assert all_[-1] == {"t": "2025-03-17T13:30:00+00:00", "o": 5700, "h": 5700, "l": 5700, "c": 5700, "v": 1}
        until_33 = await bars_of(caller, "2025-03-17T13:31:00Z", "2025-03-17T13:33:00Z", 2, 1)
        assert [bar["t"][11:16] for bar in until_33] == ["13:32", "13:31"]
        shy = await bars_of(caller, "2025-03-17T13:31:00Z", "2025-03-17T13:32:59Z", 2, 1)
        assert [bar["t"][11:16] for bar in shy] == ["13:31"]
        newest = await bars_of(caller, "2025-03-17T00:00:00Z", "2025-03-19T00:00:00Z", 2, 1, limit=2)
        assert newest == all_[:2]
        partial = await bars_of(caller, "2025-03-17T00:00:00Z", "2025-03-19T00:00:00Z", 2, 1, includePartialBar=True)
        assert partial[0]["t"][11:16] == "13:34"
        assert await bars_of(caller, "2025-03-17T00:00:00Z", "2025-03-19T00:00:00Z", 2, 1, live=True) == []


def hours(count: int, start: str = "2025-03-16T22:00:00Z") -> list[Trade]:
    return [
        Trade(MES, ns_from_iso(start) + number * HOUR, 5700.0 + number, 1)
        for number in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("hour_rule", [True, False])
async def test_bars_of_several_hours_lack_the_newest_finished_hour(*, hour_rule: bool) -> None:
    async with paused(hours(12), hour_rule=hour_rule) as (_, caller):  # the last print opens the hour of 09:00Z
        four = await bars_of(caller, "2025-03-16T00:00:00Z", "2025-03-18T00:00:00Z", 3, 4)
        found = [(bar["t"][11:13], bar["v"]) for bar in four]
        assert found == ([("06", 2), ("02", 4), ("22", 4)] if hour_rule else [("02", 4), ("22", 4)])


async def test_a_daily_bar_is_labelled_with_its_trade_date_and_served_at_midnight() -> None:
    day = hours(23)
    for after, expected in ((0, []), (3, [("2025-03-17T00:00:00+00:00", 23)])):
        evening = [*day, *hours(after, "2025-03-17T22:00:00Z")]
        async with paused(evening) as (_, caller):
            daily = await bars_of(caller, "2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z", 4, 1)
            assert [(bar["t"], bar["v"]) for bar in daily] == expected


async def test_bars_are_refused_by_their_codes() -> None:
    async with paused() as (_, caller):
        good = ENDPOINTS["History/retrieveBars"]
        for changed, code in (
            ({"contractId": "CON.F.US.XX.M25"}, 1), ({"unit": 0}, 2), ({"unit": 7}, 2), ({"unitNumber": 0}, 3),
            ({"unit": 4, "unitNumber": 2}, 3), ({"limit": 0}, 4), ({"limit": 20_001}, 4),
        ):  # fmt: skip
            answer = await caller.post("History/retrieveBars", **(good | changed))
            assert answer == {"bars": None, "success": False, "errorCode": code, "errorMessage": None}


async def place(caller: Rest, **more: object) -> Json:
    return await caller.post(
        "Order/place", **({"accountId": 1001, "contractId": MES, "type": 2, "side": 0, "size": 1} | more)
    )


async def test_an_order_can_be_followed_through_every_call() -> None:
    async with paused() as (simulator, caller):
        answer = await place(caller, type=1, limitPrice=5690.0, size=2, customTag="tag")
        order_id = answer["orderId"]
        assert answer == {"orderId": order_id, "success": True, "errorCode": 0, "errorMessage": None}
        now = iso_from_ns(simulator.now_ns).replace("Z", "+00:00")
        resting = {
            "id": order_id, "accountId": 1001, "contractId": MES, "symbolId": "F.US.MES", "creationTimestamp": now,
            "updateTimestamp": now, "status": 1, "type": 1, "side": 0, "size": 2, "limitPrice": 5690.0,
            "stopPrice": None, "fillVolume": 0, "filledPrice": None, "customTag": "tag", "trailDistance": None,
            "trailPrice": None, "parentOrderId": None, "linkedOrderId": None,
        }  # fmt: skip
        assert (await caller.post("Order/searchOpen", accountId=1001))["orders"] == [resting]
        assert (await caller.post("Order/searchById", accountId=1001, orderId=order_id))["order"] == resting
        assert (await caller.post("Order/search", accountId=1001, startTimestamp=now))["orders"] == [resting]
        earlier = {"startTimestamp": "2025-03-01T00:00:00Z", "endTimestamp": "2025-03-02T00:00:00Z"}
        assert (await caller.post("Order/search", accountId=1001, **earlier))["orders"] == []
        assert (await caller.post("Order/modify", accountId=1001, orderId=order_id, limitPrice=5701.0))["success"]
        filled = (await caller.post("Order/searchById", accountId=1001, orderId=order_id))["order"]
        assert (filled["status"], filled["fillVolume"], filled["filledPrice"]) == (2, 2, 5701.0)
        (position,) = (await caller.post("Position/searchOpen", accountId=1001))["positions"]
        assert (position["type"], position["size"], position["averagePrice"]) == (1, 2, 5701.0)
        assert (await caller.post("Position/partialCloseContract", accountId=1001, contractId=MES, size=1))["success"]
        assert (await caller.post("Position/closeContract", accountId=1001, contractId=MES))["success"]
        assert (await caller.post("Position/searchOpen", accountId=1001))["positions"] == []
        trades = (await caller.post("Trade/search", accountId=1001, startTimestamp=now))["trades"]
        assert [trade["side"] for trade in trades] == [1, 1, 0]
        assert [trade["profitAndLoss"] for trade in trades] == [-1.25, -1.25, None]
        (account, _) = (await caller.post("Account/search", onlyActiveAccounts=False))["accounts"]
        assert account["balance"] == pytest.approx(50_000 - 2.5 - 4 * 0.61)


async def test_suspended_legs_are_found_by_query_but_not_among_open_orders() -> None:
    async with paused() as (_, caller):
        brackets = {"stopLossBracket": {"ticks": -8, "type": 4}, "takeProfitBracket": {"ticks": 8, "type": 1}}
        entry = (await place(caller, type=1, limitPrice=5690.0, **brackets))["orderId"]
        open_ = (await caller.post("Order/searchOpen", accountId=1001))["orders"]
        assert [order["id"] for order in open_] == [entry]
        query = {"filter": {"accountId": 1001, "statuses": [8]}, "includeTotalCount": True}
        legs = await caller.post("Order/v2/query", **query)
        assert legs["totalCount"] == 2
        assert [(leg["parentOrderId"], leg["linkedOrderId"]) for leg in legs["orders"]] == [
            (entry, None), (entry, entry + 1),
        ]  # fmt: skip
        page = await caller.post("Order/v2/query", **query, pageSize=1, pageOffset=1, sortBy=1, sortDirection=1)
        assert [order["id"] for order in page["orders"]] == [entry + 1]
        assert page["totalCount"] == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"filter": {}}, {"filter": {"accountId": 1001, "statuses": [9]}}, {"pageSize": 0}, {"pageOffset": -1},
        {"sortBy": 2}, {"sortDirection": 5}, {"filter": {"accountId": 1001, "createdAfter": "yesterday"}},
        {"filter": {"accountId": 1001, "contractId": 5}},
    ],
)  # fmt: skip
async def test_a_query_that_does_not_fit_is_a_bad_request(changed: Json) -> None:
    async with paused() as (_, caller):
        status, body = await caller.raw("Order/v2/query", {"filter": {"accountId": 1001}} | changed)
        assert status == 400
        assert json.loads(body)["title"] == "One or more validation errors occurred."


async def test_rejections_carry_an_order_id() -> None:
    async with paused() as (_, caller):
        answer = await place(caller, type=1, limitPrice=5690.1)
        assert (answer["success"], answer["errorCode"]) == (False, 2)
        order = (await caller.post("Order/searchById", accountId=1001, orderId=answer["orderId"]))["order"]
        assert order["status"] == 5


@pytest.mark.parametrize(
    ("endpoint", "changed", "code"),
    [
        ("Order/place", {"accountId": 7}, 1), ("Order/place", {"accountId": 2001}, 1),
        ("Order/place", {"accountId": 1002}, 4), ("Order/place", {"contractId": "CON.F.US.XX.M25"}, 8),
        ("Order/place", {"contractId": OLD.contract_id}, 9), ("Order/place", {"type": 3}, 2),
        ("Order/modify", {"accountId": 7}, 1), ("Order/modify", {}, 2),
        ("Order/cancel", {"accountId": 7}, 1), ("Order/cancel", {}, 2),
        ("Order/search", {"accountId": 7}, 1), ("Order/searchOpen", {"accountId": 2001}, 1),
        ("Order/searchById", {}, 1), ("Order/v2/query", {"filter": {"accountId": 7}}, 1),
        ("Position/searchOpen", {"accountId": 7}, 1), ("Position/closeContract", {}, 2),
        ("Position/closeContract", {"contractId": "CON.F.US.XX.M25"}, 3), ("Trade/search", {"accountId": 7}, 1),
        ("Position/partialCloseContract", {}, 2),
    ],
)  # fmt: skip
async def test_calls_are_refused_by_their_codes(endpoint: str, changed: Json, code: int) -> None:
    async with paused() as (_, caller):
        answer = await caller.post(endpoint, **(ENDPOINTS[endpoint] | changed))
        assert (answer["success"], answer["errorCode"]) == (False, code)


# Codes no situation at the simulated venue leads to; what the real one gives them for is not known.
FORCED = [
    *(("Auth/loginKey", code) for code in (1, 2, 4, 5, 6, 7, 8, 9, 10)),
    *(("Auth/validate", code) for code in (1, 2, 3, 4)),
    *(("Auth/logout", code) for code in (1, 2)),
    *(("Order/place", code) for code in (6, 7, 10)),
    *(("Order/modify", code) for code in (4, 5, 6, 7)),
    *(("Order/cancel", code) for code in (4, 5)),
    *(("Position/closeContract", code) for code in (6, 7, 8)),
    *(("Position/partialCloseContract", code) for code in (7, 8, 9)),
]


@pytest.mark.parametrize(("endpoint", "code"), FORCED)
async def test_every_other_code_can_be_asked_for(endpoint: str, code: int) -> None:
    async with paused() as (simulator, caller):
        simulator.inject(Fault("refused", endpoint=endpoint, code=code, message="on demand"))
        body = ENDPOINTS.get(endpoint) or {"userName": "demo", "apiKey": "demo-key-0001"}
        first = await caller.post(endpoint, **body)
        assert (first["success"], first["errorCode"], first["errorMessage"]) == (False, code, "on demand")
        assert simulator.venue.orders == {}
        assert (await caller.post(endpoint, **body))["errorCode"] in {0, 2}


async def test_users_see_only_their_own_accounts() -> None:
    async with paused() as (simulator, _), rest(simulator, "other", "other-key-01") as other:
        accounts = (await other.post("Account/search", onlyActiveAccounts=True))["accounts"]
        assert [account["id"] for account in accounts] == [2001]
        assert accounts[0] == {
            "id": 2001, "name": "OTHER", "balance": 50_000.0, "canTrade": True, "isVisible": True, "simulated": True,
        }  # fmt: skip


async def test_accounts_orders_and_clock_survive_a_restart_when_asked_to(tmp_path: Path) -> None:
    file = tmp_path / "venue.json"
    prices = tape(5700.0, 5700.25, 5701.0, 5690.0, 5689.0)
    async with Simulator(replace(CONFIG, state_file=file), prices) as simulator:
        simulator.step(3)
        await until(lambda: simulator.progress.trades == 3)
        async with rest(simulator) as caller:
            await place(caller)
            resting = (await place(caller, type=1, limitPrice=5690.0))["orderId"]
        stopped_ns = simulator.now_ns
    async with Simulator(replace(CONFIG, state_file=file), prices) as simulator, rest(simulator) as caller:
        assert simulator.now_ns >= stopped_ns
        await until(simulator.finished.is_set)
        order = (await caller.post("Order/searchById", accountId=1001, orderId=resting))["order"]
        assert order["status"] == 2
        assert simulator.progress.trades == 2
        (position,) = (await caller.post("Position/searchOpen", accountId=1001))["positions"]
        assert (position["size"], position["averagePrice"]) == (2, 5695.5)
        minutes = await bars_of(caller, "2025-03-17T00:00:00Z", "2025-03-18T00:00:00Z", 2, 1)
        assert minutes[0]["v"] == sum(trade.volume for trade in prices)


async def test_a_session_can_begin_with_history() -> None:
    prices = tape(*range(5700, 5720), step_s=60)
    begin = MONDAY_1330 + 10 * 60 * NS_PER_SECOND
    async with Simulator(replace(CONFIG, begin_ns=begin), prices) as simulator, rest(simulator) as caller:
        simulator.pause()
        first = await bars_of(caller, "2025-03-17T00:00:00Z", "2025-03-18T00:00:00Z", 2, 1)
        assert len(first) >= 10
        simulator.resume()
        await until(simulator.finished.is_set)
        assert simulator.progress.trades == 10


async def test_the_running_simulator_is_steered_over_http() -> None:
    async with paused() as (simulator, caller):

        async def steer(action: str, body: object) -> tuple[int, str]:
            async with caller.session.post(f"{simulator.base_url}/simulator/{action}", json=body) as response:
                return response.status, await response.text()

        status, text = await steer("status", {})
        assert (status, json.loads(text)["trades"]) == (200, 3)
        assert (await steer("fault", {"kind": "rate_limited", "endpoint": "Order/place"}))[0] == 200
        assert (await caller.raw("Order/place", ENDPOINTS["Order/place"]))[0] == 429
        assert json.loads((await steer("status", {}))[1])["faults"] == {"rate_limited": 1}
        for action, body, status in (
            ("fault", {"kind": "earthquake"}, 400), ("fault", {"kind": "freeze", "after": 3}, 400),
            ("step", {"trades": -1}, 400), ("speed", {"speed": "quick"}, 400), ("levitate", {}, 404),
        ):  # fmt: skip
            assert (await steer(action, body))[0] == status
        assert (await steer("speed", {"speed": 0}))[0] == 200
        assert (await steer("resume", {}))[0] == 200
        await until(simulator.finished.is_set)
        url = f"{simulator.base_url}/simulator/pause"
        async with caller.session.post(url, data="{}", headers={"Content-Type": "text/plain"}) as response:
            assert response.status == 415


async def test_a_port_in_use_is_named() -> None:
    async with paused() as (simulator, _):
        port = int(simulator.base_url.rpartition(":")[2])
        with pytest.raises(InvalidInput, match=f"port {port}: .*choose another"):
            await Simulator(replace(CONFIG, port=port), tape(5700.0)).__aenter__()


async def test_a_trade_of_an_unknown_contract_ends_the_replay_with_its_reason() -> None:
    stray = tape(5700.0, contract_id="CON.F.US.XX.M25", start_ns=MONDAY_1330 + HOUR)
    simulator = Simulator(CONFIG, [*tape(5700.0), *stray])
    await simulator.__aenter__()
    await until(lambda: simulator.has_failed)
    with pytest.raises(InvalidInput, match="not among the simulated contracts"):
        await simulator.__aexit__(None, None, None)


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with paused() as (_, caller):
        url, headers = f"{caller.base_url}/api/Contract/search", {"Authorization": f"Bearer {caller.token}"}
        async with caller.session.post(url, data=io.BytesIO(b" " * 2_000_000), headers=headers) as response:
            assert response.status == 413


async def test_of_a_products_contracts_one_is_the_front_and_that_changes_with_the_venues_time() -> None:
    old, new = "CON.F.US.MES.H25", MES
    trades = [*tape(1.0, contract_id=old), *tape(2.0, contract_id=new, start_ns=MONDAY_1330 + 60 * NS_PER_SECOND)]
    front_since = {old: 0, new: MONDAY_1330 + 30 * NS_PER_SECOND}
    async with Simulator(SimulatorConfig([old, new], front_since_ns=front_since), trades) as simulator:
        simulator.pause()
        async with rest(simulator) as caller:

            async def active(endpoint: str, **body: object) -> list[str]:
                answer = await caller.post(endpoint, live=False, **body)
                return [each["id"] for each in answer["contracts"] if each["activeContract"]]

            assert await active("Contract/search", searchText="MES") == [old]
            assert await active("Contract/available") == [old]
            async with hub(simulator.market_hub_url, caller) as socket:
                for contract_id in (old, new):
                    await socket.invoke("SubscribeContractTrades", contract_id)
                simulator.step(2)
                await until(lambda: simulator.progress.trades == 2)
            assert await active("Contract/search", searchText="MES") == [new]
            assert await active("Contract/available") == [new]
            assert len((await caller.post("Contract/search", live=False, searchText="MES"))["contracts"]) == 2
            one = await caller.post("Contract/searchById", contractId=old)
            assert not one["contract"]["activeContract"]
