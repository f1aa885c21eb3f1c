"""Orders, fills, positions and wishes in PostgreSQL.

An entry is written down in the same transaction in which its wish moves on from waiting, so that it is sent once
whatever happens to the program, and by one program only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import orjson

from escapement.core.execution import (
    AccountDay,
    Difference,
    HoldingNote,
    KeptAccount,
    KillSwitch,
    Lot,
    OrderNote,
    Role,
    Standing,
    Wish,
)
from escapement.core.risk import Verdict
from escapement.model import Fill, OrderSide, OrderType
from escapement.moments import datetime_from_ns, ns_from_datetime
from escapement.storage import queries
from escapement.storage.database import DBHandler
from escapement.storage.failures import translated

_OPEN = queries.load("open_execution")
_ACCOUNT = queries.load("execution_account")
_ACCOUNT_NAMES = queries.load("execution_account_names")
_DECISIONS = queries.load("decisions_after")
_PUT_WISH = queries.load("put_wish")
_MOVE_WISH = queries.load("move_wish")
_WISHES = queries.load("wishes")
_INTEND = queries.load("intend_order")
_PUT_ORDERS = queries.load("put_orders")
_PUT_FILLS = queries.load("put_fills")
_PUT_POSITIONS = queries.load("put_positions")
_PUT_SNAPSHOT = queries.load("put_snapshot")
_SNAPSHOTS = queries.load("snapshots")
_PUT_CHECK = queries.load("put_risk_check")
_CHECKS = queries.load("risk_checks")
_PUT_DIFFERENCES = queries.load("put_reconciliations")
_DIFFERENCES = queries.load("reconciliations")
_ORDERS = queries.load("account_orders")
_FILLS = queries.load("account_fills")
_POSITIONS = queries.load("account_positions")
_KILL = queries.load("kill_switch")
_TURN_KILL = queries.load("turn_kill_switch")
_BLOCK = queries.load("block_account")


class ExecutionStore:
    """The database as execution and those who look at it see it; every method raises StorageError.

    What execution writes, it writes while it holds the account's lease, or not at all (LeaseLost), where ``database``
    is fenced by that.
    """

    def __init__(self, database: DBHandler) -> None:
        self._database = database
        self._pool = database.pool

    async def open(self, kept: KeptAccount) -> KeptAccount:
        """Take note of an account that was not traded before; return it as it is kept."""
        seed = {
            contract_id: [[lot.size, lot.ticks, lot.opened_ns, lot.order_id, str(lot.fees)] for lot in lots]
            for contract_id, lots in kept.held_before.items()
        }
        async with self._database.writing() as connection:
            await connection.execute(
                _OPEN, kept.account, kept.account_id, kept.mode, datetime_from_ns(kept.since_ns), kept.start_balance,
                orjson.dumps(seed).decode(),
            )  # fmt: skip
        found = await self.account(kept.account)
        return kept if found is None else found

    async def accounts(self) -> list[str]:
        """Return the names of the accounts that were ever traded here."""
        with translated():
            return [row["account"] for row in await self._pool.fetch(_ACCOUNT_NAMES)]

    async def account(self, account: str) -> KeptAccount | None:
        """Return an account as it is kept, None where it was never traded."""
        with translated():
            row = await self._pool.fetchrow(_ACCOUNT, account)
        if row is None:
            return None
        seed = {
            contract_id: tuple(Lot(lot[0], lot[1], lot[2], lot[3], Decimal(lot[4])) for lot in lots)
            for contract_id, lots in orjson.loads(row["held_before"]).items()
        }
        return KeptAccount(
            row["account"], row["account_id"], row["mode"], ns_from_datetime(row["since"]), row["start_balance"], seed,
            row["last_decision_number"], row["blocked"], _ns(row["blocked_until"]),
        )  # fmt: skip

    async def decisions_after(self, coordinator: str, number: int, most: int) -> list[Wish]:
        """Return what a coordinator decided after its decision ``number``, in order."""
        with translated():
            rows = await self._pool.fetch(_DECISIONS, coordinator, number, most)
        return [
            Wish(
                row["contract_id"], row["decision_id"], row["decision_number"], row["direction"],
                ns_from_datetime(row["known_at"]), row["data_complete"],
            )
            for row in rows
        ]  # fmt: skip

    async def put_wish(self, account: str, wish: Wish, looked_at: int) -> None:
        """Replace what is wished of a contract, and say that all decisions up to a number were looked at."""
        async with self._database.writing() as connection:
            await connection.execute(
                _PUT_WISH, account, wish.contract_id, wish.decision_id, wish.number, wish.direction, str(wish.standing),
                datetime_from_ns(wish.known_at_ns), wish.data_complete, looked_at,
            )  # fmt: skip

    async def wishes(self, account: str) -> list[Wish]:
        """Return what is wished of each contract."""
        with translated():
            rows = await self._pool.fetch(_WISHES, account)
        return [
            Wish(
                row["contract_id"], row["decision_id"], row["decision_number"], row["direction"],
                ns_from_datetime(row["known_at"]), row["data_complete"], Standing(row["standing"]),
            )
            for row in rows
        ]  # fmt: skip

    async def settle_entry(
        self, account: str, wish: Wish, at_ns: int, size: int, verdict: Verdict | None, order: OrderNote | None
    ) -> bool:
        """Move a wish's entry on from waiting, with what risk said of it and the order to send, if there is one.

        Returns:
            Whether it was still waiting; if not, nothing was stored, and nothing must be sent.
        """
        standing = Standing.DROPPED if order is None else Standing.SENT
        async with self._database.writing() as connection:
            moved = await connection.fetchrow(_MOVE_WISH, account, wish.contract_id, wish.decision_id, str(standing))
            if moved is None:
                return False
            if verdict is not None:
                await connection.execute(_PUT_CHECK, *_check_columns(account, wish, at_ns, size, verdict))
            if order is not None:
                await connection.execute(_INTEND, *_intent_columns(account, order))
        return True

    async def intend(self, account: str, order: OrderNote) -> None:
        """Write an order down before it is sent."""
        async with self._database.writing() as connection:
            await connection.execute(_INTEND, *_intent_columns(account, order))

    async def put(
        self,
        account: str,
        orders: Sequence[OrderNote] = (),
        fills: Sequence[Fill] = (),
        positions: Sequence[HoldingNote] = (),
    ) -> None:
        """Take note of orders, fills and positions as they stand, in one transaction."""
        async with self._database.writing() as connection:
            if orders:
                await connection.execute(_PUT_ORDERS, account, *_order_columns(orders))
            if fills:
                await connection.execute(_PUT_FILLS, account, *_fill_columns(fills))
            if positions:
                await connection.execute(_PUT_POSITIONS, account, *_position_columns(positions))

    async def put_day(self, account: str, trade_date: date, start: Decimal, balance: Decimal, equity: Decimal) -> None:
        """Take note of where an account stands on a trading day."""
        async with self._database.writing() as connection:
            await connection.execute(_PUT_SNAPSHOT, account, trade_date, start, balance, equity)

    async def days(self, account: str, since: date | None = None) -> list[AccountDay]:
        """Return the trading days of an account, oldest first."""
        with translated():
            return [AccountDay(**row) for row in await self._pool.fetch(_SNAPSHOTS, account, since)]

    async def put_differences(self, account: str, cause: str, differences: Sequence[Difference]) -> None:
        """Take note of where the venue and our book differed."""
        async with self._database.writing() as connection:
            await connection.execute(
                _PUT_DIFFERENCES, account, cause, [each.kind for each in differences],
                [each.subject for each in differences], [each.ours for each in differences],
                [each.venues for each in differences], [each.action for each in differences],
            )  # fmt: skip

    async def differences(self, account: str | None, most: int) -> list[dict[str, Any]]:
        """Return the newest differences between the venue and our book, oldest of them first."""
        with translated():
            return [dict(row) for row in await self._pool.fetch(_DIFFERENCES, account, most)]

    async def orders(self, account: str, *, working: bool = False, since_ns: int | None = None) -> list[OrderNote]:
        """Return an account's orders, oldest first; only those not ended, only those that changed since."""
        with translated():
            rows = await self._pool.fetch(_ORDERS, account, working, _moment(since_ns))
        return [_order_note(row) for row in rows]

    async def fills(self, account: str, from_ns: int | None = None, to_ns: int | None = None) -> list[Fill]:
        """Return an account's fills of a stretch of time, oldest first, voided ones too."""
        kept = await self.account(account)
        with translated():
            rows = await self._pool.fetch(_FILLS, account, _moment(from_ns), _moment(to_ns))
        account_id = 0 if kept is None else kept.account_id
        return [
            Fill(
                row["fill_id"], account_id, row["contract_id"], row["order_id"], ns_from_datetime(row["at"]),
                OrderSide[row["side"].upper()], row["size"], row["price"], row["fees"], row["profit"], row["voided"],
            )
            for row in rows
        ]  # fmt: skip

    async def positions(self, account: str | None = None) -> list[HoldingNote]:
        """Return what an account, or every account, holds of each contract it ever traded."""
        with translated():
            rows = await self._pool.fetch(_POSITIONS, account)
        return [
            HoldingNote(
                row["contract_id"], row["net"], row["foreign_net"], row["average_price"], row["protected"],
                row["made"], row["tick_size"], row["tick_value"], row["account"],
            )
            for row in rows
        ]  # fmt: skip

    async def risk_checks(
        self, account: str | None, most: int, *, refusals: bool = False, decision_id: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the newest risk checks, oldest of them first."""
        with translated():
            rows = await self._pool.fetch(_CHECKS, account, refusals, most, decision_id)
        return [dict(row) | {"checks": orjson.loads(row["checks"])} for row in rows]

    async def block(self, account: str, reason: str, until_ns: int | None) -> None:
        """Take note that nothing may be opened for ``reason`` until a moment; an empty reason takes it back."""
        async with self._database.writing() as connection:
            await connection.execute(_BLOCK, account, reason, _moment(until_ns))

    async def kill_switch(self) -> KillSwitch:
        """Return whether all trading is stopped."""
        with translated():
            row = await self._pool.fetchrow(_KILL)
        return KillSwitch() if row is None else KillSwitch(
            row["killed"], row["reason"], row["by"], ns_from_datetime(row["at"])
        )  # fmt: skip

    async def turn_kill_switch(self, *, killed: bool, reason: str, by: str) -> None:
        """Stop all trading, or let it go on."""
        with translated():
            await self._pool.execute(_TURN_KILL, killed, reason, by)
        self._database.ring("kill_switch", [""])


def _check_columns(account: str, wish: Wish, at_ns: int, size: int, verdict: Verdict) -> tuple[object, ...]:
    refusal = verdict.refusal
    checks = [
        {"code": each.code, "passed": each.passed, "words": each.words, "values": dict(each.values)}
        for each in verdict.checks
    ]
    return (
        account, wish.decision_id, wish.contract_id, datetime_from_ns(at_ns), size, verdict.approved,
        "" if refusal is None else refusal.code, "" if refusal is None else refusal.words,
        orjson.dumps(checks).decode(),
    )  # fmt: skip


def _intent_columns(account: str, order: OrderNote) -> tuple[object, ...]:
    return (
        account, order.key, order.contract_id, order.decision_id, str(order.role), order.type.name.lower(),
        order.side.name.lower(), order.size, order.limit_price, order.stop_price,
    )  # fmt: skip


def _order_columns(orders: Sequence[OrderNote]) -> tuple[list[object], ...]:
    return (
        [each.key for each in orders],
        [each.venue_order_id for each in orders],
        [each.contract_id for each in orders],
        [each.decision_id for each in orders],
        [str(each.role) for each in orders],
        [each.type.name.lower() for each in orders],
        [each.side.name.lower() for each in orders],
        [each.size for each in orders],
        [each.limit_price for each in orders],
        [each.stop_price for each in orders],
        [each.status for each in orders],
        [each.filled_size for each in orders],
        [each.filled_price for each in orders],
        [each.refusal for each in orders],
        [_moment(each.created_ns) for each in orders],
    )


def _fill_columns(fills: Sequence[Fill]) -> tuple[list[object], ...]:
    return (
        [each.fill_id for each in fills],
        [each.contract_id for each in fills],
        [each.order_id for each in fills],
        [datetime_from_ns(each.at_ns) for each in fills],
        [each.side.name.lower() for each in fills],
        [each.size for each in fills],
        [each.price for each in fills],
        [each.fees for each in fills],
        [each.profit for each in fills],
        [each.voided for each in fills],
    )


def _position_columns(positions: Sequence[HoldingNote]) -> tuple[list[object], ...]:
    return (
        [each.contract_id for each in positions],
        [each.net for each in positions],
        [each.foreign_net for each in positions],
        [each.average_price for each in positions],
        [each.protected for each in positions],
        [each.made for each in positions],
        [each.tick_size for each in positions],
        [each.tick_value for each in positions],
    )


def _order_note(row: asyncpg.Record) -> OrderNote:
    return OrderNote(
        row["order_key"], row["venue_order_id"], row["contract_id"], row["decision_id"], Role(row["role"]),
        OrderType[row["type"].upper()], OrderSide[row["side"].upper()], row["size"], row["limit_price"],
        row["stop_price"], row["status"], row["filled_size"], row["filled_price"], row["refusal"],
        _ns(row["created_at"]), _ns(row["intended_at"]), _ns(row["accepted_at"]),
    )  # fmt: skip


def _moment(at_ns: int | None) -> datetime | None:
    return None if at_ns is None else datetime_from_ns(at_ns)


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else ns_from_datetime(moment)
