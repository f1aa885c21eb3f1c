"""Execution as its users run it, at a simulated gateway in a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from desks import LIVE, MES, Desk, desk
from programs import program, wait_for

pytestmark = pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)


def test_a_decision_is_traded_killed_resumed_and_all_of_it_can_be_read(tmp_path: Path, url: str) -> None:
    with desk(tmp_path, url, **LIVE) as there:
        with program(tmp_path, "execute", **there.variables) as running:
            wait_for(running, "stderr", r"market.*hub_live")
            there.until(lambda: "SIM-1001" in there.run("db", "query", "SELECT account FROM execution_accounts"))
            there.decide(1, 1)
            there.until(lambda: there.net() == 1)
            (position,) = there.until(lambda: [each for each in there.json("positions") if each["protected"] == 1])
            assert position["account"] == "SIM-1001"
            assert [each["role"] for each in there.json("orders", "--open")] == ["stop"]
            out = there.run("kill", "--reason", "lunch")
            assert "No position is open." in out
            there.decide(2, -1)
            there.until(lambda: there.json("risk", "checks", "--refusals"))
            assert "trading was stopped: lunch" in there.run("risk", "checks", "--decision", f"{2:016x}")
            there.run("resume")
            there.decide(3, -1)
            there.until(lambda: there.net() == -1)
            there.decide(4, 0)
            there.until(lambda: there.net() == 0 and not there.json("orders", "--open"))
            running.send_signal(signal.SIGTERM)
            assert running.wait(30) == 0
        venue = Decimal(str(json.loads(there.run("gateway", "accounts", "--json"))[0]["balance"]))
        made = there.json("pnl")
        assert Decimal(made["total"]["net"]) == venue - 50_000
        assert there.json("pnl", "--by", "contract")["total"] == made["total"]
        trips = there.json("trades")
        assert [each["side"] for each in trips] == ["long", "short"]
        assert sum(Decimal(each["net"]) for each in trips) == venue - 50_000
        for command in ("orders", "positions", "trades", "pnl"):
            assert MES in there.run(command) or command == "pnl"
        assert there.json("risk", "reconciliations") == [] or there.run("risk", "reconciliations")


def test_a_stop_of_the_program_leaves_the_stop_at_the_venue_and_the_next_one_goes_on(tmp_path: Path, url: str) -> None:
    with desk(tmp_path, url, **LIVE) as there:
        for number, direction in ((1, 1), (2, 0)):
            with program(tmp_path, "execute", **there.variables) as running:
                wait_for(running, "stderr", r"market.*hub_live")
                there.until(lambda: "SIM-1001" in there.run("db", "query", "SELECT account FROM execution_accounts"))
                there.decide(number, direction)
                there.until(lambda: there.net() == direction)  # noqa: B023 - waited for at once
                running.send_signal(signal.SIGKILL if direction else signal.SIGTERM)
                running.wait(30)
            if direction:
                (stop,) = json.loads(there.run("gateway", "orders", "--account", "1001", "--open", "--json"))
                assert stop["type"] == "stop"


def test_live_is_refused_from_the_command_line_unless_all_three_say_so(tmp_path: Path, url: str) -> None:
    own = {
        "DATABASE_URL": url,
        "PROJECTX_USERNAME": "demo",
        "PROJECTX_API_KEY": "demo-key-0001",
        "ESCAPEMENT_CONTRACTS": MES,
    }
    there = Desk(tmp_path, own)
    for variables, said in (
        ({"ESCAPEMENT_EXECUTION__MODE": "live"}, "ESCAPEMENT_LIVE_TRADING is not yes"),
        ({"ESCAPEMENT_EXECUTION__MODE": "live", "ESCAPEMENT_LIVE_TRADING": "yes"}, "execution.account is missing"),
        ({**LIVE, "ESCAPEMENT_LIVE_TRADING": "YES"}, "ESCAPEMENT_LIVE_TRADING is not yes"),
        ({**LIVE, "ESCAPEMENT_RISK__FIRM_RULES": "topstep_combine_50k"}, "ESCAPEMENT_LOCATION=own-device"),
    ):
        assert said in there.run("execute", code=2, **variables)
        assert said in there.run("run", "--services", "execute", code=2, **variables)
    assert "execution.mode is paper" in there.run("execute", "--mode", "live", code=2, ESCAPEMENT_LIVE_TRADING="yes")
    assert "execution.mode is paper" in there.run("watchdog", code=2)


def test_kill_says_so_when_nobody_closes_what_is_open(tmp_path: Path, url: str) -> None:
    there = Desk(tmp_path, {"DATABASE_URL": url})

    async def hold() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(
            "INSERT INTO positions (account, contract_id, net, foreign_net, protected, made, tick_size, tick_value)"
            " VALUES ('PRAC-1', $1, 2, 0, 2, 0, 0.25, 1.25)", MES,
        )  # fmt: skip
        await connection.close()

    asyncio.run(hold())
    said = there.run("kill", "--wait", "0.3", code=1)
    assert "PRAC-1: 2 of CON.F.US.MES.M25" in said
    assert "see to them on the platform" in said
    assert "Trading goes on." in there.run("resume")


def test_the_packs_of_rules_are_listed_as_of_a_day(tmp_path: Path, url: str) -> None:
    there = Desk(tmp_path, {"DATABASE_URL": url})
    assert "1,000" in there.run("risk", "packs", "--on", "2024-08-24").split("topstep_combine_50k")[1].splitlines()[0]
    assert "topstep_express_150k" in there.run("risk", "packs")
    assert "--on" in there.run("risk", "packs", "--on", "soon", code=2)
