"""Whatever is thrown at the simulated venue, it neither crashes nor hangs nor grows."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from typing import Any

import aiohttp
from hypothesis import given, settings
from hypothesis import strategies as st

from escapement.simulator import Simulator, SimulatorConfig
from simulated import ENDPOINTS, MES, SEPARATOR, Rest, hub, rest, tape, until

CONFIG = SimulatorConfig([MES], audience="ignore", calls_limit=None, bars_limit=None, handshake_s=0.5)
HANDSHAKE = '{"protocol":"json","version":1}' + SEPARATOR
METHODS = [
    f"{verb}{name}"
    for verb in ("Subscribe", "Unsubscribe")
    for name in (
        "ContractTrades", "ContractQuotes", "ContractMarketDepth", "Accounts", "Orders", "Positions", "Trades",
    )
]  # fmt: skip

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.sampled_from([MES, 1001, -1, 0, 2**31, 2**63, "2025-03-17T13:30:00Z", "0001-01-01T00:00:00+14:00", 1e300, ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip
bodies = st.one_of(
    *(
        st.fixed_dictionaries({name: st.just(value) | anything for name, value in fitting.items()})
        | st.fixed_dictionaries({}, optional=dict.fromkeys((*fitting, "stopLossBracket", "size"), anything))
        for fitting in ENDPOINTS.values()
    ),
    anything,
)
records = st.one_of(
    anything.map(json.dumps),
    st.fixed_dictionaries(
        {"type": st.sampled_from([1, 1, 1, 4, 6]) | anything},
        optional={
            "target": st.sampled_from(METHODS) | anything, "arguments": st.just([MES]) | st.just([1001]) | anything,
            "invocationId": st.text(max_size=4) | anything, "headers": anything,
        },
    ).map(json.dumps),
    st.text(max_size=60),
)  # fmt: skip
frames = st.lists(records, max_size=6).map(lambda parts: SEPARATOR.join(parts) + SEPARATOR)
cut = st.tuples(frames, st.integers(0, 400)).map(lambda pair: pair[0][: pair[1]])


async def _still_serves(caller: Rest, simulator: Simulator) -> None:
    async with asyncio.timeout(10), hub(simulator.market_hub_url, caller) as socket:
        assert (await socket.invoke("SubscribeContractQuotes", MES))["result"] is None
        assert (await caller.post("Account/search", onlyActiveAccounts=False))["success"]
    assert not simulator.has_failed


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(ENDPOINTS)), bodies), min_size=1, max_size=8))
def test_any_body_at_any_endpoint_is_answered(calls: list[tuple[str, Any]]) -> None:
    async def run() -> None:
        async with Simulator(CONFIG, tape(5700.0, 5701.0)) as simulator:
            simulator.step(1)
            async with rest(simulator) as caller:
                for endpoint, body in calls:
                    status, text = await caller.raw(endpoint, body)
                    assert status in {200, 400}, (endpoint, body, status)
                    answer = json.loads(text)
                    assert ("success" in answer) == (status == 200)
                await _still_serves(caller, simulator)

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["market", "user"]),
    st.booleans(),
    st.lists(frames | cut | st.binary(max_size=80), min_size=1, max_size=8),
)
def test_any_frames_on_a_hub_are_survived(name: str, greet: bool, thrown: list[str | bytes]) -> None:  # noqa: FBT001 - drawn
    async def run() -> None:
        async with Simulator(CONFIG, tape(5700.0, 5701.0)) as simulator, rest(simulator) as caller:
            url = simulator.market_hub_url if name == "market" else simulator.user_hub_url
            async with caller.session.ws_connect(url, params={"access_token": caller.token}) as socket:
                if greet:
                    await socket.send_str(HANDSHAKE)
                for frame in thrown:
                    try:
                        if isinstance(frame, str):
                            await socket.send_bytes(frame.encode("utf-8", "surrogatepass"))
                        else:
                            await socket.send_bytes(frame)
                    except aiohttp.ClientError:
                        break
            await _still_serves(caller, simulator)

    asyncio.run(run())


async def test_a_frame_beyond_the_limit_ends_the_connection_and_nothing_else() -> None:
    async with Simulator(CONFIG, tape(5700.0)) as simulator, rest(simulator) as caller:
        url = simulator.market_hub_url
        async with caller.session.ws_connect(url, params={"access_token": caller.token}) as socket:
            await socket.send_str(HANDSHAKE)
            await socket.send_str('{"type":1,"target":"' + "x" * 100_000)
            async with asyncio.timeout(5):
                while not socket.closed:
                    await socket.receive()
            assert socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        await _still_serves(caller, simulator)


async def test_memory_does_not_grow_with_what_strangers_send() -> None:
    async with Simulator(CONFIG, tape(5700.0)) as simulator, rest(simulator) as caller:
        url = simulator.market_hub_url

        async def noise(number: int) -> None:
            async with hub(url, caller) as socket:
                for step in range(100):
                    contract_id = f"CON.F.US.X{number}.{step}"
                    await socket.say({"type": 1, "target": "SubscribeContractTrades", "arguments": [contract_id]})
                await socket.invoke("SubscribeContractTrades", f"last {number}")
            for version in (0, 1):
                headers = {"Authorization": f"Bearer {caller.token}"}
                negotiate = f"{url}/negotiate?negotiateVersion={version}"
                async with caller.session.post(negotiate, headers=headers) as response:
                    assert response.status == 200
            await caller.post("Auth/validate")

        for number in range(5):
            await noise(number)
        await until(lambda: not simulator._hubs["market"].connections)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20):
            await noise(number + 5)
        await until(lambda: not simulator._hubs["market"].connections)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert grown < 400_000, f"{grown} bytes more after 20 clients"
