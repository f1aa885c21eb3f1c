"""Trades with the project-x-py package at the gateway named by its environment variables, and prints what it saw.

Runs under an interpreter of its own, because the package needs Python 3.12.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from project_x_py import EventBus, ProjectX
from project_x_py.config import load_default_config
from project_x_py.order_manager import OrderManager
from project_x_py.realtime import ProjectXRealtimeClient

CONTRACT = "CON.F.US.MES.M25"


def say(what: str, value: Any) -> None:
    sys.stdout.write(json.dumps({"what": what, "value": value}, default=str) + "\n")
    sys.stdout.flush()


async def until_line() -> None:
    """Wait for a line on standard input: the test has moved the market."""
    await asyncio.to_thread(sys.stdin.readline)


async def main() -> None:
    async with ProjectX.from_env(config=load_default_config()) as client:
        await client.authenticate()
        account = client.account_info
        say("account", [account.id, account.name, account.balance])
        say("contracts", [each.id for each in await client.search_instruments("MES")])
        # It takes the bars of the trade date for granted, so the window is given.
        end = datetime(2025, 3, 18, tzinfo=UTC)
        frame = await client.get_bars(
            CONTRACT, interval=1, unit=2, start_time=end - timedelta(days=1), end_time=end, partial=False
        )
        say("bars", [[str(row["timestamp"]), row["open"], row["close"], row["volume"]] for row in frame.to_dicts()])
        realtime = ProjectXRealtimeClient(client.session_token, str(account.id), config=client.config)

        async def heard(event: dict[str, Any]) -> None:
            say("event", event)

        for kind in ("order_update", "trade_execution", "position_update", "market_trade"):
            await realtime.add_callback(kind, heard)
        say("connected", await realtime.connect())
        say("subscribed", [await realtime.subscribe_user_updates(), await realtime.subscribe_market_data([CONTRACT])])
        manager = OrderManager(client, EventBus())
        await manager.initialize(realtime)
        await until_line()
        resting = await manager.place_order(CONTRACT, 1, 0, 1, limit_price=5600.0, custom_tag="resting")
        say("open", [[each.id, each.limitPrice] for each in await manager.search_open_orders()])
        say("modified", await manager.modify_order(resting.orderId, limit_price=5601.0))
        say("open", [[each.id, each.limitPrice] for each in await manager.search_open_orders()])
        say("cancelled", await manager.cancel_order(resting.orderId))
        entry = await manager.place_order(
            CONTRACT, 2, 0, 2, custom_tag="entry",
            stop_loss_bracket={"ticks": -8, "type": 4}, take_profit_bracket={"ticks": 12, "type": 1},
        )  # fmt: skip
        say("placed", [entry.success, entry.orderId])
        say("legs", [[each.type, each.limitPrice, each.stopPrice] for each in await manager.search_open_orders()])
        say("positions", [[each.contractId, each.type, each.size] for each in await client.search_open_positions()])
        await until_line()
        say("positions", [[each.contractId, each.type, each.size] for each in await client.search_open_positions()])
        await realtime.disconnect()


logging.disable(logging.CRITICAL)
asyncio.run(main())
