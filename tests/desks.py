"""Execution on the command line, against one database and a simulated gateway in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from programs import program, venue_variables, wait_for

MES = "CON.F.US.MES.M25"
DECIDE = """INSERT INTO decisions (decision_id, coordinator_id, contract_id, action, direction, confidence, price,
known_at, rule, words, data_complete) VALUES ($1, 'main', $2, $3, $4, 1, 5700, now(), 'test', 'test', true)"""
LIVE = {
    "ESCAPEMENT_LIVE_TRADING": "yes", "ESCAPEMENT_EXECUTION__MODE": "live", "ESCAPEMENT_EXECUTION__ACCOUNT": "SIM-1001",
    "ESCAPEMENT_RISK__OLDEST_DECISION_SECONDS": "1000000000", "ESCAPEMENT_RISK__OLDEST_PRICE_SECONDS": "100000",
}  # fmt: skip


class Desk:
    """Commands against one database and venue."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.variables = variables

    def run(self, *arguments: str, code: int = 0, **changes: str) -> str:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
        done = subprocess.run(
            [sys.executable, "-m", "escapement", *arguments], check=False, capture_output=True, text=True,
            cwd=self.folder, env=plain | self.variables | changes, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def decide(self, number: int, direction: int) -> None:
        action = {1: "enter_long", -1: "enter_short", 0: "exit"}[direction]

        async def store() -> None:
            connection = await asyncpg.connect(self.variables["DATABASE_URL"])
            await connection.execute(DECIDE, f"{number:016x}" * 2, MES, action, direction)
            await connection.execute("SELECT pg_notify('decisions', $1)", MES)
            await connection.close()

        asyncio.run(store())

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 60
        while not (found := condition()):
            assert time.monotonic() < deadline, self.run("orders") + self.run("risk", "checks")
            time.sleep(0.1)
        return found

    def net(self) -> int:
        return sum(each["net"] for each in self.json("positions"))


@contextmanager
def desk(folder: Path, url: str, **variables: str) -> Iterator[Desk]:
    with program(folder, "simulate", "--contract", MES, "--speed", "30", "--port", "0") as venue:
        base = wait_for(venue, "stdout", r"api url +(\S+)")
        own = {
            **venue_variables(base), "ESCAPEMENT_CONTRACTS": MES, "DATABASE_URL": url,
            "ESCAPEMENT_DATA_DIR": str(folder / "data"), "ESCAPEMENT_INGEST__REPLAY_SPEED": "30", **variables,
        }  # fmt: skip
        yield Desk(folder, own)
