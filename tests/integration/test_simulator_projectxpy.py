"""The project-x-py package, written against the real gateway, trades at the simulated one."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from escapement.simulator import Simulator, SimulatorConfig
from simulated import MES, Json, as_sent, as_trades, tape, until

FOLDER = Path(__file__).parents[1] / "projectxpy"


@pytest.mark.projectxpy
async def test_project_x_py_logs_in_reads_trades_and_hears_of_it() -> None:
    trades = tape(*(5700.0 + step for step in range(8)), step_s=30)
    async with Simulator(SimulatorConfig([MES], audience="ignore"), trades) as simulator:
        simulator.step(5)
        own = {
            "PROJECTX_API_URL": f"{simulator.base_url}/api", "PROJECTX_USER_HUB_URL": simulator.user_hub_url,
            "PROJECTX_MARKET_HUB_URL": simulator.market_hub_url, "PROJECT_X_USERNAME": "demo",
            "PROJECT_X_API_KEY": "demo-key-0001",
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            str(FOLDER / ".venv" / "bin" / "python"), "drive.py", cwd=FOLDER, env=os.environ | own,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        said: list[Json] = []
        reading = asyncio.create_task(_read(process, said))
        try:
            await until(lambda: _values(said, "subscribed") or reading.done())
            process.stdin.write(b"\n")
            await until(lambda: _values(said, "positions") or reading.done())
            simulator.step(3)
            await until(lambda: len(_values(said, "event")) == 19 or reading.done())
            process.stdin.write(b"\n")
            await until(reading.done)
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
    told = {what: _values(said, what) for what in ("account", "contracts", "bars", "connected", "subscribed", "open")}
    assert told == {
        "account": [[1001, "SIM-1001", 50_000.0]],
        "contracts": [[MES]],
        "bars": [[["2025-03-17 08:30:00-05:00", 5700.0, 5701.0, 3], ["2025-03-17 08:31:00-05:00", 5702.0, 5703.0, 4]]],
        "connected": [True],
        "subscribed": [[True, True]],
        "open": [[[1_000_001, 5600.0]], [[1_000_001, 5601.0]]],
    }
    assert _values(said, "modified") == _values(said, "cancelled") == [True]
    assert _values(said, "legs") == [[[4, None, 5702.0], [1, 5707.0, None]]]
    assert _values(said, "positions") == [[[MES, 1, 2]], []]
    events = _values(said, "event")
    assert as_trades([each for event in events if "contract_id" in event for each in event["data"]]) == as_sent(
        trades[5:]
    )
    orders = [(event["data"]["id"], event["data"]["status"]) for event in events if "status" in event["data"]]
    resting, entry, stop, target = range(1_000_001, 1_000_005)
    assert orders == [
        (resting, 6), (resting, 1), (resting, 1), (resting, 3), (entry, 6), (stop, 8), (target, 8), (entry, 2),
        (stop, 1), (target, 1), (target, 2), (stop, 3),
    ]  # fmt: skip


async def _read(process: asyncio.subprocess.Process, said: list[Json]) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        said.append(json.loads(line))


def _values(said: list[Json], what: str) -> list[Any]:
    return [each["value"] for each in said if each["what"] == what]
