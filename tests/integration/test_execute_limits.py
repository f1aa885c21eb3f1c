"""What is refused, and what ends trading: checks, loss limits, sessions and deadlines, the kill switch."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from escapement.simulator.orders import OrderStatus
from escapement.storage.execution import ExecutionStore
from simulated import MES, until
from trading import (
    around,
    at_minutes,
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


@EMBEDDED
async def test_a_decision_on_incomplete_data_one_too_old_and_one_too_late_are_refused_with_their_numbers(
    url: str,
) -> None:
    async with floor(url, around(5_700.0, 80)) as there:
        settings = settings_for(there.simulator, risk={"oldest_decision_seconds": 5})
        async with executing(there, settings):
            await there.decide(1, complete=False)
            await until_row(there, "SELECT 1 FROM risk_checks WHERE code = 'data_incomplete'")
            await there.decide(1, age_s=6)
            row = await until_row(there, "SELECT words FROM risk_checks WHERE code = 'decision_stale'")
            assert "5 s are allowed" in row["words"]
            assert not there.orders()


@EMBEDDED
async def test_a_position_is_not_added_to(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there, executing(there):
        await there.decide(1)
        await steady(there, 1)
        await there.decide(1)
        await until_row(there, "SELECT 1 FROM risk_checks WHERE code = 'already_held'")
        assert there.net() == 1


@EMBEDDED
async def test_a_loss_limit_closes_everything_and_blocks_until_the_next_session_also_after_a_restart(url: str) -> None:
    prices = path(5_700.0, 5_700.25, *[5_700.0] * 5, *[5_697.0] * 40)
    async with floor(url, prices) as there:
        settings = settings_for(there.simulator, execution={"stop_ticks": 40}, risk={"daily_loss": 60})
        async with executing(there, settings):
            await there.decide(1)
            await steady(there, 1)
            # Marked at the low of a gap that its stop does not reach.
            settings_low = there.simulator.venue
            while settings_low.quotes[MES].last > 5_697 * 4:
                there.step()
                await asyncio.sleep(0.02)
            assert there.net() == 1
        tight = settings_for(there.simulator, execution={"stop_ticks": 40}, risk={"daily_loss": 15})
        async with executing(there, tight):
            await until(lambda: not there.net() and not there.orders(OPEN))
            await there.decide(1)
            row = await until_row(there, "SELECT code, words FROM risk_checks WHERE NOT approved")
            assert row["code"] == "blocked"
            assert "daily_loss" in row["words"]
        async with executing(there, settings):
            await there.decide(-1)
            await until_row(there, "SELECT 1 FROM risk_checks WHERE NOT approved HAVING count(*) = 2")
        assert not there.net()


@pytest.mark.parametrize("killed", [False, True])
@EMBEDDED
async def test_a_close_that_the_closed_market_refuses_waits_until_it_opens(url: str, killed: bool) -> None:  # noqa: FBT001 - of the test
    # The market rests from 21:00 to 22:00 UTC. One trade in between lets the time pass, as quotes do.
    trades = [*around(5_700.0, 30), *at_minutes(5_700.0, 470, 511, 512, 513, 514)]
    async with floor(url, trades) as there:
        store = ExecutionStore(there.database)
        async with executing(there) as service:
            await there.decide(1)
            await steady(there, 1)
            there.step(31 - there.simulator.progress.trades)
            await until(lambda: service.deal.dealer.session(MES) is None)
            if killed:
                await store.turn_kill_switch(killed=True, reason="enough", by="me")
            else:
                await there.decide(0)
            await until(lambda: there.orders(OrderStatus.REJECTED))
            for _ in range(40):  # whatever rings
                service.ring(MES)
                await asyncio.sleep(0.02)
            assert len(there.orders(OrderStatus.REJECTED)) == 1
            assert there.net() == there.covered() == 1
            there.step(2)
            await until(lambda: not there.net() and not there.orders(OPEN))
        assert len(there.orders(OrderStatus.REJECTED)) == 1
        await recorded(there)


@EMBEDDED
async def test_everything_is_closed_before_the_deadline_of_the_session(url: str) -> None:
    # The session of these trades closes at 21:00 UTC, seven and a half hours on.
    trades = [*around(5_700.0, 30), *around(5_700.0, 30)]
    late = [replace(trade, at_ns=trade.at_ns + 7 * 3_600 * 10**9 + 26 * 60 * 10**9) for trade in trades[30:]]
    async with floor(url, [*trades[:30], *late]) as there:
        settings = settings_for(there.simulator, risk={"flatten_minutes": 5, "no_entries_minutes": 10})
        async with executing(there, settings):
            await there.decide(1)
            await steady(there, 1)
            while there.simulator.progress.trades < 32:
                there.step()
                await asyncio.sleep(0.01)
            await until(lambda: not there.net() and not there.orders(OPEN))
            await there.decide(-1)
            row = await until_row(there, "SELECT code FROM risk_checks WHERE NOT approved")
            assert row["code"] in {"after_deadline", "blocked"}


async def test_the_kill_switch_closes_everything_survives_a_restart_and_lets_go_again(url: str) -> None:
    async with floor(url, around(5_700.0, 90)) as there:
        store = ExecutionStore(there.database)
        async with executing(there):
            await there.decide(1)
            await steady(there, 1)
            await store.turn_kill_switch(killed=True, reason="enough", by="me")
            await until(lambda: not there.net() and not there.orders(OPEN))
        async with executing(there):
            await there.decide(1)
            row = await until_row(there, "SELECT code, words FROM risk_checks WHERE NOT approved")
            assert row == {"code": "blocked", "words": "trading was stopped: enough"}
            await store.turn_kill_switch(killed=False, reason="", by="me")
            await until_row(there, "SELECT 1 FROM kill_switch HAVING count(*) = 2")
            await there.decide(-1)
            await steady(there, -1)


@EMBEDDED
async def test_an_account_that_may_no_longer_trade_opens_nothing(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there, executing(there) as service:
        there.ledger.spec = replace(there.ledger.spec, can_trade=False)
        await until(lambda: not service.deal.dealer.can_trade)
        await there.decide(1)
        await until_row(there, "SELECT 1 FROM risk_checks WHERE code = 'account_cannot_trade'")


@EMBEDDED
async def test_an_entry_without_a_stop_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # whose settings file does not name one for all products
    async with floor(url, around(5_700.0, 60)) as there:
        settings = settings_for(there.simulator, execution={"stop_ticks": {"ENQ": 8}})
        async with executing(there, settings):
            await there.decide(1)
            await until_row(there, "SELECT 1 FROM risk_checks WHERE code = 'no_stop'")


@EMBEDDED
async def test_what_another_account_holds_against_it_is_seen(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there:
        other = replace(there.ledger.spec, account_id=1002, name="PRAC-2")
        there.simulator.venue.accounts[1002] = type(there.ledger)(other)
        answer = there.simulator.venue.place("demo", replace(by_hand(1), account_id=1002, side=1))
        assert answer.code == 0
        settings = settings_for(there.simulator, risk={"firm_rules": "topstep_combine_50k"})
        async with executing(there, settings):
            await there.decide(1)
            row = await until_row(there, "SELECT code, words FROM risk_checks")
            assert row == {"code": "opposing_exposure", "words": "account PRAC-2 holds -1 of MES"}
