"""The user hub: what happens to accounts, orders, positions and trades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from escapement.simulator import wire
from escapement.simulator.faults import FaultPlan
from escapement.simulator.hubs import Connection, Hub, Method, MethodRefused
from escapement.simulator.orders import OrderStatus
from escapement.simulator.venue import Event, Venue

_TARGETS = {
    "account": "GatewayUserAccount", "order": "GatewayUserOrder", "position": "GatewayUserPosition",
    "trade": "GatewayUserTrade",
}  # fmt: skip


class UserData:
    """Tells users what happens to their accounts.

    Args:
        venue: where it happens.
        faults: what goes wrong on the way.
        wrapped: whether events come as action and data.
    """

    def __init__(self, venue: Venue, faults: FaultPlan, *, wrapped: bool) -> None:
        self._venue = venue
        self._faults = faults
        self._wrapped = wrapped

    def methods(self) -> dict[str, Method]:
        """Return the hub's methods."""
        table: dict[str, Method] = {"subscribeaccounts": self._accounts, "unsubscribeaccounts": self._no_accounts}
        for kind in ("order", "position", "trade"):
            table[f"subscribe{kind}s"] = self._subscriber(kind)
            table[f"unsubscribe{kind}s"] = self._unsubscriber(kind)
        return table

    def publish(self, hub: Hub) -> None:
        """Send the events since the last call to those of their account's owner who subscribed."""
        events = self._venue.take_events()
        for index, event in enumerate(events):
            target = _TARGETS[event.kind]
            frame = wire.user_record(target, event.action, event.data, wrapped=self._wrapped)
            topic = event.kind, 0 if event.kind == "account" else event.account_id
            owner = self._venue.accounts[event.account_id].spec.user.lower()
            for connection in list(hub.connections):
                if topic in connection.topics and connection.user.lower() == owner:
                    connection.offer(frame)
            if not self._faults.is_idle and self._cuts(event, events[index + 1 :]):
                for connection in list(hub.connections):
                    connection.cut_after_queue()

    def _cuts(self, event: Event, later: Sequence[Event]) -> bool:
        """Whether the connections are cut now: after an entry's fill, before its legs are told."""
        if event.kind != "order" or event.data["status"] != OrderStatus.FILLED:
            return False
        entry_id = event.data["id"]
        has_legs = any(each.kind == "order" and each.data["parentOrderId"] == entry_id for each in later)
        return has_legs and bool(self._faults.strikes(self._venue.now_ns, "cut_before_bracket"))

    def _accounts(self, connection: Connection, arguments: list[Any]) -> None:
        if arguments:
            raise MethodRefused("Failed to invoke the method: it takes no argument.")
        connection.topics.add(("account", 0))

    def _no_accounts(self, connection: Connection, arguments: list[Any]) -> None:
        del arguments
        connection.topics.discard(("account", 0))

    def _subscriber(self, kind: str) -> Method:
        def subscribe(connection: Connection, arguments: list[Any]) -> None:
            account_id = _account_id(arguments)
            if self._venue.account(connection.user, account_id) is None:
                raise MethodRefused("Failed to invoke the method: the account is not found.")
            connection.topics.add((kind, account_id))

        return subscribe

    def _unsubscriber(self, kind: str) -> Method:
        def unsubscribe(connection: Connection, arguments: list[Any]) -> None:
            connection.topics.discard((kind, _account_id(arguments)))

        return unsubscribe


def _account_id(arguments: list[Any]) -> int:
    if len(arguments) != 1 or type(arguments[0]) is not int:
        raise MethodRefused("Failed to invoke the method: it takes an account id.")
    return arguments[0]
