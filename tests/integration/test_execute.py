"""Execution at the simulated venue: decisions become orders, and positions never lack their stop."""

from __future__ import annotations

from simulated import until
from trading import around, executing, floor


async def test_a_decision_becomes_an_entry_with_stop_and_target(url: str) -> None:
    async with floor(url, around(5_700.0, 60)) as there, executing(there):
        await there.decide(1)
        await until(lambda: there.net() == 1 and there.covered() == 1)
        orders = there.orders()
        print([(o.custom_tag, o.type, o.status, o.limit, o.stop, o.size) for o in orders])
        for _ in range(5):
            there.step()
        await there.decide(0)
        await until(lambda: there.net() == 0)
        print([(o.custom_tag, o.type, o.status, o.limit, o.stop, o.size) for o in there.orders()])
    for table in (
        "execution_accounts",
        "execution_wishes",
        "orders",
        "fills",
        "positions",
        "account_snapshots",
        "risk_checks",
        "reconciliations",
    ):
        print(table)
