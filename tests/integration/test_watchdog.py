"""The watchdog at the simulated venue: it protects without the program that trades, and without the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from escapement.core.execution import KillSwitch
from escapement.errors import StorageUnavailable
from escapement.projectx import GatewayClient, GatewayParams
from escapement.services.watchdog import Watchdog, WatchdogParams
from escapement.simulator import Fault
from escapement.simulator.orders import Bracket, OrderRequest, OrderStatus, OrderType
from escapement.storage.execution import ExecutionStore
from relays import relayed
from simulated import MES, until
from trading import ACCOUNT, Floor, around, floor, settings_for

OPEN = OrderStatus.OPEN
EMBEDDED = pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)


class Clock:
    """Seconds that pass when they are told to."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def watching(
    there: Floor, must_go: Callable[[str], str] = lambda _contract: "", killed: Any = None
) -> AsyncIterator[tuple[Watchdog, Clock]]:
    settings = settings_for(there.simulator)
    assert settings.gateway.api_key is not None
    params = GatewayParams(there.simulator.base_url, "demo", settings.gateway.api_key, 1.0, attempts=2)
    async with GatewayClient(params) as client:
        clock = Clock()
        yield Watchdog(ACCOUNT, client, must_go, killed, WatchdogParams(0.02, 5.0), clock), clock


def bought(there: Floor, size: int = 2, tag: str | None = "ESC-ab-E0", stop: int | None = None) -> None:
    legs = None if stop is None else Bracket(-stop, OrderType.STOP)
    answer = there.simulator.venue.place(
        "demo", OrderRequest(ACCOUNT, MES, OrderType.MARKET, 0, size, custom_tag=tag, stop_loss=legs)
    )
    assert answer.code == 0


def stop(there: Floor, size: int, tag: str | None = "ESC-ab-S1") -> None:
    request = OrderRequest(ACCOUNT, MES, OrderType.STOP, 1, size, stop_price=5_600.0, custom_tag=tag)
    assert there.simulator.venue.place("demo", request).code == 0


@EMBEDDED
async def test_a_bare_position_is_closed_when_it_has_been_bare_for_too_long(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there, watching(there) as (watchdog, clock):
        bought(there)
        await watchdog.look()
        clock.now_s = 4.9
        await watchdog.look()
        assert there.net() == 2
        clock.now_s = 5.0
        await watchdog.look()
        assert there.net() == 0
        assert watchdog.statistics.closed == 1


@pytest.mark.parametrize(("size", "left"), [(2, 2), (3, 2), (1, 0)])
@EMBEDDED
async def test_a_stop_of_its_size_or_more_protects_a_position_and_a_smaller_one_does_not(
    url: str, size: int, left: int
) -> None:
    async with floor(url, around(5_700.0, 60)) as there, watching(there) as (watchdog, clock):
        bought(there)
        stop(there, size)
        await watchdog.look()
        clock.now_s = 6.0
        await watchdog.look()
        assert there.net() == left


@EMBEDDED
async def test_protection_in_between_begins_the_time_anew(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there, watching(there) as (watchdog, clock):
        bought(there)
        await watchdog.look()
        stop(there, 2)
        clock.now_s = 4.0
        await watchdog.look()
        there.simulator.venue.cancel("demo", ACCOUNT, there.orders(OPEN)[0].order_id)
        clock.now_s = 6.0
        await watchdog.look()
        assert there.net() == 2
        clock.now_s = 11.0
        await watchdog.look()
        assert there.net() == 0


@EMBEDDED
async def test_a_stop_that_is_left_without_a_position_is_cancelled_and_what_others_ordered_is_not(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there, watching(there) as (watchdog, clock):
        stop(there, 2)
        stop(there, 1, tag=None)
        for clock.now_s in (0.0, 5.0):
            await watchdog.look()
        (left,) = there.orders(OPEN)
        assert left.custom_tag is None


@EMBEDDED
async def test_at_the_deadline_and_when_trading_was_stopped_everything_goes_at_once(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there:
        for must_go, killed in ((lambda _contract: "the deadline", False), (lambda _contract: "", True)):

            async def switch(*, is_killed: bool = killed) -> KillSwitch:
                return KillSwitch(is_killed, "enough", "me")

            async with watching(there, must_go, switch) as (watchdog, _):
                bought(there, tag=None, stop=8)
                running = asyncio.create_task(watchdog.run())
                await until(lambda: not there.net() and not there.orders(OPEN))
                watchdog.stop()
                await running


@EMBEDDED
async def test_it_goes_on_without_the_database_and_while_the_venue_does_not_answer(url: str) -> None:
    faults = [Fault("unavailable_rest", endpoint="Position/searchOpen", count=6)]

    async def away() -> KillSwitch:
        raise StorageUnavailable("the database does not answer")

    async with (
        floor(url, around(5_700.0, 60), faults=faults) as there,
        watching(there, killed=away) as (watchdog, clock),
    ):
        bought(there)
        running = asyncio.create_task(watchdog.run())
        await until(lambda: watchdog.statistics.blind >= 2 and watchdog.statistics.looks >= 2)
        clock.now_s = 5.0
        await until(lambda: not there.net())
        watchdog.stop()
        await running


@EMBEDDED
async def test_it_goes_on_while_the_database_is_silent(url: str) -> None:
    async with (
        relayed(url) as (relay, way),
        floor(way, around(5_700.0, 60)) as there,
        watching(there, killed=ExecutionStore(there.database).kill_switch) as (watchdog, clock),
    ):
        bought(there)
        running = asyncio.create_task(watchdog.run())
        await until(lambda: watchdog.statistics.looks >= 2)
        relay.fall_silent()
        await asyncio.sleep(0.1)  # it asks again, and hears nothing
        clock.now_s = 5.0
        await until(lambda: not there.net(), 5)
        relay.hang_up()
        watchdog.stop()
        await running


def test_it_has_no_right_to_open_anything() -> None:
    from escapement.ports import Stopper  # noqa: PLC0415 - what this test is about

    rights = {name for name in dir(Stopper) if not name.startswith("_")}
    assert rights == {"accounts", "orders_by_status", "positions", "cancel_order", "close_position"}
