"""Execution, or the watchdog, as processes to kill: one for each line, which says what to be, the seed and where."""

from __future__ import annotations

import json

from escapement import wiring, wiring_execution
from escapement.projectx import HubParams
from escapement.services.execute import ExecuteParams
from escapement.services.watchdog import WatchdogParams
from escapement.settings import Settings
from forking import fork_for_each_line
from orders import settings_for

HUB = HubParams(first_delay_s=0.05, longest_delay_s=0.5, silence_s=2.0, ping_s=0.5)


async def serve(line: str) -> None:
    """Be what the line says, until killed."""
    order = json.loads(line)
    settings = settings_for(order["base_url"], order["url"], order["seed"])
    await (execute if order["be"] == "execute" else watch)(settings)


async def execute(settings: Settings) -> None:
    params = ExecuteParams(0.5, 0.1, 5.0, 2.0, 1.0)
    async with (
        wiring.database(settings, more_connections=2) as database,
        wiring_execution.execution(settings, database, "live", hub=HUB, params=params) as service,
    ):
        await service.run()


async def watch(settings: Settings) -> None:
    async with wiring_execution.watchdog(settings, WatchdogParams(0.7, 4.0)) as service:
        await service.run()


if __name__ == "__main__":
    fork_for_each_line(serve)
