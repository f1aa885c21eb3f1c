"""Execution, or the watchdog, as processes to kill: one for each line, which says what to be, the seed and where."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from escapement import wiring, wiring_execution
from escapement.errors import LeaseLost
from escapement.projectx import HubParams
from escapement.services.execute import ExecuteParams
from escapement.services.sharing import hold, while_held
from escapement.services.watchdog import WatchdogParams
from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.leases import Leases
from forking import fork_for_each_line
from orders import NAME, settings_for

HUB = HubParams(first_delay_s=0.05, longest_delay_s=0.5, silence_s=2.0, ping_s=0.5)


async def serve(line: str) -> None:
    """Be what the line says, until killed."""
    order = json.loads(line)
    settings = settings_for(order["base_url"], order["url"], order["seed"])
    await (execute if order["be"] == "execute" else watch)(settings)


async def execute(settings: Settings) -> None:
    async with wiring.database(settings, more_connections=2) as database:
        leases = wiring.leases(settings, database, "execute")
        while await hold(leases, NAME, asyncio.Event()):
            with suppress(LeaseLost):
                await while_held(leases, NAME, trade(settings, database, leases))


async def trade(settings: Settings, database: DBHandler, leases: Leases) -> None:
    params = ExecuteParams(0.5, 0.1, 5.0, 2.0, 1.0)
    async with wiring_execution.execution(settings, database, "live", leases, hub=HUB, params=params) as service:
        await service.run()


async def watch(settings: Settings) -> None:
    async with wiring_execution.watchdog(settings, WatchdogParams(0.7, 4.0)) as service:
        await service.run()


if __name__ == "__main__":
    fork_for_each_line(serve)
