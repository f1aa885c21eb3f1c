"""The REST endpoints: what each takes, and what it answers.

Business refusals are HTTP 200 with ``success`` false and an error code of the endpoint's own; a body that does not fit
the endpoint is HTTP 400.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from escapement.errors import InvalidInput, InvalidTimeframe
from escapement.model import Contract, PriceGrid, Timeframe, TimeframeUnit
from escapement.moments import ns_from_iso
from escapement.simulator import wire
from escapement.simulator.accounts import account_json, position_json, trade_json
from escapement.simulator.faults import FaultPlan
from escapement.simulator.history import History, VenueBar
from escapement.simulator.orders import Bracket, Order, OrderRequest, OrderStatus, OrderType, order_json
from escapement.simulator.query import checked_query, run_query
from escapement.simulator.venue import Answer, Venue

MOST_BARS = 20_000
MOST_FOUND = 20
_INT32, _INT64 = 2**31, 2**63

Body = dict[str, Any]
Handler = Callable[[str, Body], bytes]


class BadBody(Exception):
    """The body does not fit the endpoint: HTTP 400, with what is wrong by field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(str(dict(errors)))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its handler, its fields (a question mark ends the type of an optional one), its payload field."""

    handle: Handler
    fields: Mapping[str, str] = field(default_factory=dict)
    payload: str | None = None

    def read(self, text: bytes) -> Body:
        """Return the body's fields, checked.

        Raises:
            BadBody: they do not fit.
        """
        try:
            body = orjson.loads(text) if text else {}
        except orjson.JSONDecodeError:
            raise BadBody({"$": "The JSON value could not be converted."}) from None
        if not isinstance(body, dict):
            raise BadBody({"$": "The JSON value could not be converted."})
        given = {str(name).lower(): value for name, value in body.items()}
        values = {name: given.get(name.lower()) for name in self.fields}
        errors = {name: why for name, kind in self.fields.items() if (why := _misfit(values[name], kind))}
        for name, kind in self.fields.items():
            text_value = values[name]
            if kind.startswith("time") and isinstance(text_value, str):
                try:
                    values[name] = _time_ns(text_value)
                except (InvalidInput, OverflowError):
                    errors[name] = "The JSON value could not be converted."
        if errors:
            raise BadBody(errors)
        return values


class Desk:
    """Answers the calls of the venue's users, apart from those about sessions.

    Args:
        venue: accounts and orders.
        histories: what each contract has traded.
        faults: what goes wrong with history.
        front_since_ns: from when on contracts are the front of their product.
    """

    def __init__(
        self,
        venue: Venue,
        histories: Mapping[str, History],
        faults: FaultPlan,
        front_since_ns: Mapping[str, int] | None = None,
    ) -> None:
        self._front_since_ns = front_since_ns or {}
        self._venue = venue
        self._histories = histories
        self._faults = faults
        self._holes: set[tuple[str, Timeframe, int]] = set()

    def endpoints(self) -> dict[str, Endpoint]:
        """Return every endpoint by its lower-case path below ``/api/``."""
        account = {"accountId": "int"}
        own_order = account | {"orderId": "long"}
        span = account | {"startTimestamp": "time", "endTimestamp": "time?"}
        prices = {"limitPrice": "float?", "stopPrice": "float?", "trailPrice": "float?"}
        contract = {"contractId": "str"}
        new_order = account | contract | {"type": "int", "side": "int", "size": "int"} | prices
        new_order |= {"customTag": "str?", "stopLossBracket": "bracket?", "takeProfitBracket": "bracket?"}
        bars = contract | {"live": "bool", "startTime": "time", "endTime": "time", "unit": "int", "unitNumber": "int"}
        bars |= {"limit": "int", "includePartialBar": "bool"}
        return {
            "account/search": Endpoint(self._accounts, {"onlyActiveAccounts": "bool"}, "accounts"),
            "contract/search": Endpoint(self._search, {"searchText": "str", "live": "bool"}, "contracts"),
            "contract/searchbyid": Endpoint(self._contract, contract, "contract"),
            "contract/available": Endpoint(self._available, {"live": "bool"}, "contracts"),
            "history/retrievebars": Endpoint(self._bars, bars, "bars"),
            "order/place": Endpoint(self._place, new_order, "orderId"),
            "order/modify": Endpoint(self._modify, own_order | {"size": "int?"} | prices),
            "order/cancel": Endpoint(self._cancel, own_order),
            "order/search": Endpoint(self._orders, span, "orders"),
            "order/searchopen": Endpoint(self._open_orders, account, "orders"),
            "order/searchbyid": Endpoint(self._order, own_order, "order"),
            "order/v2/query": Endpoint(self._query, {"filter": "object", **_PAGE}, "orders"),
            "position/searchopen": Endpoint(self._positions, account, "positions"),
            "position/closecontract": Endpoint(self._close, account | contract),
            "position/partialclosecontract": Endpoint(self._close, account | contract | {"size": "int"}),
            "trade/search": Endpoint(self._trades, span, "trades"),
        }

    def _accounts(self, user: str, body: Body) -> bytes:
        found = [
            account_json(account)
            for account in self._venue.accounts_of(user)
            if account.spec.visible and (account.spec.can_trade or not body["onlyActiveAccounts"])
        ]
        return wire.envelope("accounts", found)

    def _search(self, user: str, body: Body) -> bytes:
        text = body["searchText"].lower()
        found = [
            each
            for each in self._contracts(user, body)
            if (each.active or each.contract_id in self._front_since_ns)
            and any(text in part.lower() for part in (each.name, each.description, each.contract_id))
        ]
        return wire.envelope("contracts", [wire.contract_json(each) for each in found[:MOST_FOUND]])

    def _available(self, user: str, body: Body) -> bytes:
        active = [each for each in self._contracts(user, body) if each.active]
        return wire.envelope("contracts", [wire.contract_json(each) for each in active])

    def _contracts(self, user: str, body: Body) -> list[Contract]:
        """Return the contracts as they stand; the live subscription, which simulated accounts lack, finds none."""
        if body["live"] and all(account.spec.simulated for account in self._venue.accounts_of(user)):
            return []
        return [self._now(listing.contract) for listing in self._venue.listings.values()]

    def _now(self, contract: Contract) -> Contract:
        """Return a contract as it stands now: one of those that are ever a product's front is the front."""
        since_ns = self._front_since_ns.get(contract.contract_id)
        if since_ns is None:
            return contract
        begun = [
            began_ns
            for other, began_ns in self._front_since_ns.items()
            if began_ns <= self._venue.now_ns and self._symbol(other) == contract.symbol_id
        ]
        return replace(contract, active=contract.active and bool(begun) and since_ns == max(begun))

    def _symbol(self, contract_id: str) -> str | None:
        listing = self._venue.listings.get(contract_id)
        return None if listing is None else listing.contract.symbol_id

    def _contract(self, user: str, body: Body) -> bytes:
        del user
        listing = self._venue.listings.get(body["contractId"])
        if listing is None:
            return wire.refusal("contract", 1)
        return wire.envelope("contract", wire.contract_json(self._now(listing.contract)))

    def _bars(self, user: str, body: Body) -> bytes:
        contract_id = body["contractId"]
        history = self._histories.get(contract_id)
        if history is None:
            return wire.refusal("bars", 1)
        if body["unit"] not in list(TimeframeUnit):
            return wire.refusal("bars", 2)
        if not 1 <= body["limit"] <= MOST_BARS:
            return wire.refusal("bars", 4)
        try:
            timeframe = Timeframe(TimeframeUnit(body["unit"]), body["unitNumber"])
        except InvalidTimeframe:
            return wire.refusal("bars", 3)
        if body["live"] and all(account.spec.simulated for account in self._venue.accounts_of(user)):
            return wire.envelope("bars", [])
        to_ns = min(body["endTime"], self._venue.now_ns)
        bars = history.bars(timeframe, body["startTime"], to_ns, body["limit"], partial=body["includePartialBar"])
        if not self._faults.is_idle or self._holes:
            bars = self._spoiled(contract_id, timeframe, bars)
        return wire.envelope("bars", [_bar_json(bar) for bar in bars])

    def _spoiled(self, contract_id: str, timeframe: Timeframe, bars: list[VenueBar]) -> list[VenueBar]:
        now_ns = self._venue.now_ns
        if bars and self._faults.strikes(now_ns, "missing_bar", contract_id=contract_id):
            self._holes.add((contract_id, timeframe, bars[self._faults.choice(len(bars))].label_ns))
        bars = [bar for bar in bars if (contract_id, timeframe, bar.label_ns) not in self._holes]
        if bars and self._faults.strikes(now_ns, "wrong_partial_bar", contract_id=contract_id):
            bar = bars[0]
            bars[0] = VenueBar(bar.label_ns, bar.ready_ns, bar.open, bar.high, bar.low, bar.open, bar.volume // 2)
        return bars

    def _place(self, user: str, body: Body) -> bytes:
        request = OrderRequest(
            body["accountId"], body["contractId"], body["type"], body["side"], body["size"], body["limitPrice"],
            body["stopPrice"], body["trailPrice"], body["customTag"], _bracket(body["stopLossBracket"]),
            _bracket(body["takeProfitBracket"]),
        )  # fmt: skip
        answer = self._venue.place(user, request)
        if answer.code:
            return wire.refusal("orderId", answer.code, answer.message, answer.order_id)
        return wire.envelope("orderId", answer.order_id)

    def _modify(self, user: str, body: Body) -> bytes:
        changes = {"size": body["size"], "limit_price": body["limitPrice"], "stop_price": body["stopPrice"]}
        return _plain(
            self._venue.modify(user, body["accountId"], body["orderId"], **changes, trail_price=body["trailPrice"])
        )

    def _cancel(self, user: str, body: Body) -> bytes:
        return _plain(self._venue.cancel(user, body["accountId"], body["orderId"]))

    def _close(self, user: str, body: Body) -> bytes:
        return _plain(self._venue.close_position(user, body["accountId"], body["contractId"], body.get("size")))

    def _orders(self, user: str, body: Body) -> bytes:
        def wanted(order: Order) -> bool:
            return _within(order.created_ns, body)

        return self._listed(user, body, wanted)

    def _open_orders(self, user: str, body: Body) -> bytes:
        # Suspended bracket legs are not shown here.
        return self._listed(user, body, lambda order: order.status is OrderStatus.OPEN)

    def _listed(self, user: str, body: Body, wanted: Callable[[Order], bool]) -> bytes:
        if self._venue.account(user, body["accountId"]) is None:
            return wire.refusal("orders", 1)
        orders = [self._json(order) for order in self._venue.orders_of(body["accountId"]) if wanted(order)]
        return wire.envelope("orders", orders)

    def _order(self, user: str, body: Body) -> bytes:
        order = self._venue.orders.get(body["orderId"])
        mine = self._venue.account(user, body["accountId"]) is not None
        if order is None or not mine or order.account_id != body["accountId"]:
            return wire.refusal("order", 1)
        return wire.envelope("order", self._json(order))

    def _query(self, user: str, body: Body) -> bytes:
        query = checked_query(body)
        if isinstance(query, dict):
            raise BadBody(query)
        if self._venue.account(user, query.account_id) is None:
            return wire.refusal("orders", 1)
        orders, total = run_query(query, self._venue.orders_of(query.account_id))
        more = {"totalCount": total} if query.with_total else {}
        return wire.envelope("orders", [self._json(order) for order in orders], **more)

    def _positions(self, user: str, body: Body) -> bytes:
        account = self._venue.account(user, body["accountId"])
        if account is None:
            return wire.refusal("positions", 1)
        rows = []
        for position in account.positions.values():
            listing = self._venue.listings[position.contract_id]
            rows.append(position_json(account.spec.account_id, position, listing.grid, listing.contract.name))
        return wire.envelope("positions", rows)

    def _trades(self, user: str, body: Body) -> bytes:
        account = self._venue.account(user, body["accountId"])
        if account is None:
            return wire.refusal("trades", 1)
        found = [trade for trade in reversed(account.trades) if _within(trade.at_ns, body)]
        return wire.envelope("trades", [trade_json(trade, self._grid(trade.contract_id)) for trade in found])

    def _json(self, order: Order) -> dict[str, object]:
        return order_json(
            order, self._grid(order.contract_id), self._venue.listings[order.contract_id].contract.symbol_id
        )

    def _grid(self, contract_id: str) -> PriceGrid:
        return self._venue.listings[contract_id].grid


_PAGE = {"pageSize": "int?", "pageOffset": "int?", "sortBy": "int?", "sortDirection": "int?",
         "includeTotalCount": "bool?"}  # fmt: skip


def _plain(answer: Answer) -> bytes:
    return wire.refusal(None, answer.code, answer.message) if answer.code else wire.envelope()


def _within(at_ns: int, body: Body) -> bool:
    end = body["endTimestamp"]
    return bool(body["startTimestamp"] <= at_ns and (end is None or at_ns <= end))


def _bracket(value: Mapping[str, int] | None) -> Bracket | None:
    return None if value is None else Bracket(value["ticks"], OrderType(value["type"]))


def _bar_json(bar: VenueBar) -> dict[str, object]:
    return {
        "t": wire.stamp(bar.label_ns), "o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": bar.volume,
    }  # fmt: skip


def _misfit(value: Any, kind: str) -> str | None:
    """Return what is wrong with a field."""
    wanted = kind.removesuffix("?")
    if value is None:
        return None if kind.endswith("?") else "The field is required."
    fits = {
        "int": type(value) is int and -_INT32 <= value < _INT32,
        "long": type(value) is int and -_INT64 <= value < _INT64,
        "float": type(value) in {int, float} and abs(value) < 1e15,
        "bool": type(value) is bool,
        "str": isinstance(value, str) and len(value) <= 1_000,
        "time": isinstance(value, str),
        "object": isinstance(value, dict),
        "bracket": isinstance(value, dict) and _is_bracket(value),
    }[wanted]
    return None if fits else "The JSON value could not be converted."


def _is_bracket(value: dict[str, Any]) -> bool:
    ticks, kind = value.get("ticks"), value.get("type")
    return type(ticks) is int and abs(ticks) < _INT32 and type(kind) is int and kind in list(OrderType)


def _time_ns(text: str) -> int:
    """Read a time; one without a zone is taken as UTC."""
    try:
        return ns_from_iso(text)
    except InvalidInput:
        return ns_from_iso(text + "Z")
