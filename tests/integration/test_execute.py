"""Execution at the simulated venue: decisions become orders once, and positions never lack their stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from escapement import wiring
from escapement.errors import ConfigurationError, LeaseLost, OutcomeUnknown
from escapement.model import OrderRequest, OrderSide
from escapement.model import OrderType as Kind
from escapement.projectx import GatewayClient, GatewayParams
from escapement.projectx.limits import RateLimit
from escapement.services.execute import Execution
from escapement.services.leased import LeasedBroker
from escapement.settings import Settings
from escapement.simulator import Fault
from escapement.simulator.fills import FillModel
from escapement.simulator.orders import OrderStatus, OrderType
from relays import relayed
from simulated import MES, until
from trading import (
    ACCOUNT,
    NAME,
    Floor,
    around,
    by_hand,
    executing,
    floor,
    path,
    recorded,
    settings_for,
    steady,
    until_row,
)

OPEN = OrderStatus.OPEN
# Both databases keep the same records; those tests that read and write the most of them run on both.
EMBEDDED = pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)


async def test_a_decision_becomes_an_entry_with_stop_and_target_and_all_is_written_down(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there:
        async with executing(there):
            decision = await there.decide(1)
            await steady(there, 1)
            entry, stop, target = there.orders()
            assert entry.custom_tag == f"ESC-{decision[:16]}-E0"
            fill = entry.cost // entry.filled
            assert (stop.stop, target.limit) == (fill - 8, fill + 12)
        await recorded(there)
        (check,) = await there.rows("SELECT approved, size FROM risk_checks")
        assert check == {"approved": True, "size": 1}


@EMBEDDED
async def test_an_exit_closes_the_position_and_cancels_what_protected_it(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there:
        async with executing(there):
            await there.decide(-1)
            await steady(there, -1)
            await there.decide(0)
            await until(lambda: not there.net() and not there.orders(OPEN))
        await recorded(there)
        roles = [row["role"] for row in await there.rows("SELECT role FROM orders ORDER BY venue_order_id")]
        assert roles == ["entry", "stop", "target", "close"]


@EMBEDDED
async def test_a_reversal_closes_before_it_enters(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there:
        async with executing(there):
            await there.decide(1)
            await steady(there, 1)
            await there.decide(-1)
            await steady(there, -1)
            assert len(there.orders(OPEN)) == 2
        sizes = [trade.size for trade in there.ledger.trades]
        assert sizes == [1, 1, 1]
        await recorded(there)


@pytest.mark.parametrize("brackets", ["venue", "own"])
@EMBEDDED
async def test_a_target_that_fills_in_parts_leaves_a_stop_of_the_rest(url: str, brackets: str) -> None:
    prices = path(5_700.0, 5_700.25, *[5_700.0] * 6, *[5_703.25] * 12, 5_704.0, *[5_704.0] * 20, volume=1)
    async with floor(url, prices) as there:
        settings = settings_for(there.simulator, execution={"contracts": 3, "brackets": brackets})
        async with executing(there, settings):
            await there.decide(1)
            await steady(there, 3)
            for left in (2, 1):
                while there.net() > left:
                    there.step()
                    await asyncio.sleep(0.02)
                await steady(there, left)
            while there.net():
                there.step()
                await asyncio.sleep(0.02)
            await until(lambda: not there.orders(OPEN))
        await recorded(there)


@EMBEDDED
async def test_an_account_without_brackets_is_protected_by_our_own_orders(url: str) -> None:
    async with floor(url, around(5_700.0, 60), bracket_mode="position") as there:
        async with executing(there):
            await there.decide(1)
            await steady(there, 1)
            await until(lambda: len(there.orders(OPEN)) == 2)
            assert {order.custom_tag[-2:] for order in there.orders(OPEN)} == {"S1", "T1"}
            assert there.orders(OrderStatus.REJECTED)
        (refused,) = await there.rows("SELECT refusal FROM orders WHERE order_key LIKE '%-E0'")
        assert "Brackets cannot be used" in refused["refusal"]


@pytest.mark.parametrize("kind", ["lost_answer", "hanging_rest"])
@EMBEDDED
async def test_an_order_whose_answer_is_lost_is_found_by_its_tag_and_sent_once(url: str, kind: str) -> None:
    faults = [Fault(kind, endpoint="Order/place", seconds=0.0 if kind == "lost_answer" else 3_600.0)]
    async with floor(url, around(5_700.0, 60), faults=faults) as there, executing(there):
        await there.decide(1)
        if kind == "lost_answer":
            await steady(there, 1)
        else:
            await until_row(there, "SELECT 1 FROM orders WHERE status = 'lapsed'")
        assert len(there.orders(type=OrderType.MARKET)) == (1 if kind == "lost_answer" else 0)


@EMBEDDED
async def test_legs_whose_news_was_cut_off_are_learnt_by_asking(url: str) -> None:
    async with floor(url, around(5_700.0, 60), faults=[Fault("cut_before_bracket")]) as there:
        async with executing(there) as service:
            await there.decide(1)
            await steady(there, 1)
            await until(lambda: service.deal.keeper.book.protected(MES) == 1)
            assert len(there.orders(OPEN)) == 2
        await recorded(there)


@EMBEDDED
async def test_a_voided_entry_leaves_no_order_behind_and_a_voided_exit_leaves_no_position_bare(url: str) -> None:
    async with floor(url, around(5_700.0, 80)) as there:
        async with executing(there):
            await there.decide(1)
            await steady(there, 1)
            there.simulator.venue.void(there.ledger.trades[-1].trade_id)
            await until(lambda: not there.net() and not there.orders(OPEN))
            await there.decide(-1)
            await steady(there, -1)
            await there.decide(0)
            await until(lambda: not there.net() and not there.orders(OPEN))
            there.simulator.venue.void(there.ledger.trades[-1].trade_id)
            assert there.net() == -1
            there.step()
            await until(lambda: not there.net() and not there.orders(OPEN))  # what nobody wishes is closed
        await recorded(there)


@EMBEDDED
async def test_a_refused_stop_closes_the_position(url: str) -> None:
    faults = [Fault("refused", endpoint="Order/place", message="No stops today.", after_s=2.5)]
    async with floor(url, around(5_700.0, 80)) as there:
        settings = settings_for(there.simulator, execution={"brackets": "own"})
        async with executing(there, settings):
            await there.decide(1)
            await steady(there, 1)
            await until(lambda: len(there.orders(OPEN)) == 2)
            stop = next(order for order in there.orders(OPEN) if order.stop is not None)
            for fault in faults:
                there.simulator.inject(replace(fault, after_s=0))
            there.simulator.venue.cancel("demo", 1001, stop.order_id)
            there.simulator._users.publish(there.simulator._hubs["user"])
            await until(lambda: not there.net() and not there.orders(OPEN))
        assert await there.rows("SELECT 1 FROM orders WHERE refusal LIKE '%No stops today%'")


@pytest.mark.parametrize(("policy", "net", "orders"), [("leave", 2, 1), ("adopt", 2, 2), ("flatten", 0, 0)])
@EMBEDDED
async def test_what_others_hold_is_adopted_left_alone_or_flattened(
    url: str, policy: str, net: int, orders: int
) -> None:
    async with floor(url, around(5_700.0, 80)) as there:
        settings = settings_for(there.simulator, execution={"foreign": policy, "target_ticks": {}})
        async with executing(there, settings):
            params = GatewayParams(there.simulator.base_url, "demo", settings.gateway.api_key or pytest.fail("no key"))
            async with GatewayClient(params) as hand:
                await hand.place_order(OrderRequest(1001, MES, Kind.MARKET, OrderSide.BUY, 2))
                await hand.place_order(OrderRequest(1001, MES, Kind.LIMIT, OrderSide.SELL, 2, limit_price=5_900.0))
            await until_row(there, "SELECT 1 FROM reconciliations WHERE kind LIKE 'foreign%'")
            await until(lambda: (there.net(), len(there.orders(OPEN))) == (net, orders))
            if policy == "leave":
                await there.decide(1)
                refused = await until_row(there, "SELECT code, words FROM risk_checks")
                assert refused == {
                    "code": "foreign_position", "words": "others hold a position in this contract, which is left alone",
                }  # fmt: skip


@EMBEDDED
async def test_what_others_held_before_we_came_is_told_of_and_not_taken_for_ours(url: str) -> None:
    async with floor(url, around(5_700.0, 80)) as there:
        there.simulator.venue.place("demo", by_hand(2))
        async with executing(there) as service:
            assert service.deal.keeper.book.foreign_net(MES) == 2
            await until_row(there, "SELECT 1 FROM reconciliations WHERE kind = 'foreign position'")
            assert not there.orders(OPEN)


@EMBEDDED
async def test_a_newer_decision_takes_the_place_of_one_that_was_not_traded_yet(url: str) -> None:
    async with floor(url, around(5_700.0, 80)) as there:
        for direction in (1, -1, 1, -1):  # before execution runs: all are history for it
            await there.decide(direction)
        async with executing(there):
            await there.decide(1)
            await there.decide(-1)
            await steady(there, -1)
            assert there.orders(type=OrderType.MARKET)[-1].side == 1


@EMBEDDED
async def test_a_position_is_protected_while_the_database_is_away(url: str) -> None:
    async with floor(url, around(5_700.0, 90)) as there:
        settings = settings_for(there.simulator, execution={"brackets": "own"})
        async with executing(there, settings) as service:
            await there.decide(1)
            await steady(there, 1)
            await there.database.pool.execute("ALTER TABLE orders RENAME TO orders_away")
            try:
                stop = next(order for order in there.orders(OPEN) if order.stop is not None)
                there.simulator.venue.cancel("demo", 1001, stop.order_id)
                there.simulator._users.publish(there.simulator._hubs["user"])
                await until(lambda: stop.status is OrderStatus.CANCELLED and there.covered() == 1)
            finally:
                await there.database.pool.execute("ALTER TABLE orders_away RENAME TO orders")
            await until(lambda: not service.deal.keeper.is_behind)
            await until_row(there, "SELECT 1 FROM orders WHERE order_key LIKE '%-S2' AND status = 'open'")


@pytest.mark.parametrize("lease_s", [60.0, 0.5])
@EMBEDDED
async def test_a_position_is_protected_while_the_database_is_silent(url: str, lease_s: float) -> None:
    async with relayed(url) as (relay, way), floor(way, around(5_700.0, 90)) as there:
        settings = settings_for(there.simulator, execution={"brackets": "own"}, leases={"seconds": lease_s})
        async with executing(there, settings):
            await there.decide(1)
            await steady(there, 1)
            await until(lambda: len(there.orders(OPEN)) == 2)
            relay.fall_silent()
            stop = next(order for order in there.orders(OPEN) if order.stop is not None)
            there.simulator.venue.cancel("demo", 1001, stop.order_id)
            there.simulator._users.publish(there.simulator._hubs["user"])
            await until(lambda: there.net() == there.covered() == 1 and stop not in there.orders(OPEN), 6)
            relay.hang_up()


@EMBEDDED
async def test_two_programs_do_not_trade_one_account(url: str) -> None:
    async with floor(url, around(5_700.0, 90)) as there:
        settings = settings_for(there.simulator, leases={"seconds": 0.5})
        async with executing(there, settings) as first:
            await a_second_one_takes_over(there, settings, first)


async def a_second_one_takes_over(there: Floor, settings: Settings, first: Execution) -> None:
    leases = wiring.leases(settings, there.database, "execute")
    assert await leases.take([NAME]) == []  # it waits for its turn
    # The first one freezes: it renews its lease no more, and does not know that another one took it.
    await there.database.pool.execute("UPDATE leases SET until = clock_timestamp()")
    assert await leases.take([NAME]) == [NAME]
    decision_id = await there.decide(1)
    first.ring(MES)
    await asyncio.sleep(1.0)
    with pytest.raises(LeaseLost, match=NAME):
        await first.deal.broker.close_position(ACCOUNT, MES)
    assert there.orders() == [], decision_id
    assert await there.rows("SELECT * FROM orders") == []
    assert await there.rows("SELECT * FROM execution_wishes") == []


@EMBEDDED
async def test_an_order_that_waits_for_its_turn_is_not_sent_after_the_time_for_which_its_lease_holds(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there:
        gateway = wiring.gateway_params(settings_for(there.simulator))
        leases = wiring.leases(settings_for(there.simulator), there.database, "execute")
        await leases.take([NAME])
        async with GatewayClient(replace(gateway, limit=RateLimit(2, 1.0))) as client:
            broker = LeasedBroker(client, leases, NAME, 0.4)
            await broker.accounts()  # with the log-in all calls of this second
            with pytest.raises(OutcomeUnknown, match=NAME):
                await broker.place_order(OrderRequest(ACCOUNT, MES, Kind.MARKET, OrderSide.BUY, 1))
            await asyncio.sleep(1.0)  # its turn would have come
            assert there.orders() == []
            await broker.place_order(OrderRequest(ACCOUNT, MES, Kind.MARKET, OrderSide.BUY, 1))
            assert len(there.orders()) == 1


@EMBEDDED
async def test_an_account_that_is_not_there_is_named_with_those_that_are(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there:
        with pytest.raises(ConfigurationError, match=f"PRAC-X.*{NAME}"):
            async with executing(there, settings_for(there.simulator, execution={"account": "PRAC-X"})):
                pass


async def test_paper_trades_the_same_way_and_keeps_its_account_between_runs(url: str) -> None:
    async with floor(url, around(5_700.0, 90), fills=FillModel()) as there:
        settings = settings_for(
            there.simulator, execution={"mode": "paper", "account": None, "paper_delay_seconds": 0.1}
        )

        async def going_on(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(10):
                while not condition():
                    there.step()
                    await asyncio.sleep(0.05)

        async with executing(there, settings, mode="paper") as service:
            await there.decide(1)
            await going_on(
                lambda: service.deal.keeper.book.net(MES) == 1 and service.deal.keeper.book.protected(MES) == 1
            )
            assert not there.orders()
            balance = (await service.deal.broker.accounts())[0].balance
        async with executing(there, settings, mode="paper") as service:
            assert service.deal.keeper.book.net(MES) == 1
            assert (await service.deal.broker.accounts())[0].balance == balance
            assert await there.rows("SELECT * FROM reconciliations") == []
            await there.decide(0)
            await going_on(lambda: service.deal.keeper.book.net(MES) == 0)
            assert service.deal.dealer.balance == (await service.deal.broker.accounts())[0].balance


@EMBEDDED
async def test_what_happened_days_ago_while_nobody_ran_is_learnt(url: str) -> None:
    day_ns = 86_400 * 10**9
    trades = around(5_700.0, 30)
    shot = [replace(trades[0], at_ns=trades[0].at_ns + day_ns + n, price=5_690.0) for n in range(2)]
    later = [replace(each, at_ns=each.at_ns + 3 * day_ns, price=5_690.0) for each in trades]
    async with floor(url, [*trades, *shot, *later]) as there:
        async with executing(there):
            await there.decide(1)
            await steady(there, 1)
        there.step(45)
        await until(lambda: there.simulator.progress.trades >= 45)
        assert there.net() == 0  # its stop was reached two days before the clock of now
        async with executing(there) as service:
            assert service.deal.keeper.book.net(MES) == 0
        await recorded(there)
        assert await there.rows("SELECT 1 FROM reconciliations WHERE kind = 'fill' AND action = 'learnt'")


@EMBEDDED
async def test_a_decision_on_a_contract_that_the_venue_does_not_know_holds_up_no_other(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there:
        async with executing(there):
            await there.decide(1, contract_id="CON.F.US.MES.Z09")
            await there.decide(1)
            await steady(there, 1)
        (wish,) = await there.rows("SELECT standing FROM execution_wishes WHERE contract_id LIKE '%Z09'")
        assert wish == {"standing": "dropped"}
