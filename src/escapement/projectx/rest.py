"""The gateway's REST API as typed calls."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import aiohttp
import structlog
from pydantic import SecretStr

from escapement.errors import GatewayProtocolError, InvalidInput
from escapement.model import (
    Account,
    Bar,
    Bracket,
    Contract,
    Fill,
    Order,
    OrderRequest,
    OrderStatus,
    Position,
    SessionCalendar,
    Timeframe,
)
from escapement.moments import iso_from_ns
from escapement.projectx import payloads
from escapement.projectx.access import Access, GatewayParams

__all__ = ["GatewayClient", "GatewayParams"]

log = structlog.get_logger(service="gateway")

MOST_BARS = 20_000
_PAGE = 500
_HOUR_NS = 3_600 * 1_000_000_000
_DAY_NS = 24 * _HOUR_NS


class GatewayClient:
    """One user's calls to the gateway; use it with ``async with``.

    Every call raises GatewayRefused (by name, see ``refusals``), GatewayUnavailable or GatewayProtocolError. Calls that
    read are repeated after failures that may pass. Calls that change something are sent once: when the answer is lost
    they raise OutcomeUnknown, which says how to find out.
    """

    def __init__(self, params: GatewayParams) -> None:
        self._access = Access(params)

    async def __aenter__(self) -> Self:
        await self._access.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._access.__aexit__(kind, error, trace)

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP session, shared with the hubs."""
        return self._access.session

    async def token(self) -> SecretStr:
        """Return a token that is good for a while, logging in or refreshing first where needed."""
        return await self._access.token()

    def forget_token(self) -> None:
        """Drop a token that the venue refused; the next call logs in again."""
        self._access.forget_token()

    async def ping(self) -> None:
        """Ask whether the gateway is there."""
        await self._access.ping()

    async def logout(self) -> None:
        """End the session at the venue."""
        await self._access.change("Auth/logout", {}, find_out="log in again")
        self._access.forget_token()

    async def accounts(self, *, only_active: bool = True) -> list[Account]:
        """Return the user's accounts."""
        answer = await self._access.read("Account/search", {"onlyActiveAccounts": only_active})
        return payloads.read_all("Account/search", answer.get("accounts"), payloads.account)

    async def search_contracts(self, text: str, *, live: bool = False) -> list[Contract]:
        """Return up to 20 contracts whose name or description contains ``text``.

        Args:
            text: what to look for, such as ``MES``.
            live: the live data subscription; practice accounts have none and find nothing with it.
        """
        answer = await self._access.read("Contract/search", {"searchText": text, "live": live})
        return payloads.read_all("Contract/search", answer.get("contracts"), payloads.contract)

    async def available_contracts(self, *, live: bool = False) -> list[Contract]:
        """Return every contract that can be traded."""
        answer = await self._access.read("Contract/available", {"live": live})
        return payloads.read_all("Contract/available", answer.get("contracts"), payloads.contract)

    async def contract(self, contract_id: str) -> Contract:
        """Return one contract by its id, also an expired one."""
        answer = await self._access.read("Contract/searchById", {"contractId": contract_id})
        return payloads.read_one("Contract/searchById", answer.get("contract"), payloads.contract)

    async def bars(
        self,
        contract_id: str,
        timeframe: Timeframe,
        from_ns: int,
        to_ns: int,
        calendar: SessionCalendar,
        *,
        live: bool = False,
        page: int = MOST_BARS,
    ) -> list[Bar]:
        """Return the complete bars labelled in ``[from_ns, to_ns)`` (nanoseconds UTC), oldest first.

        Pages backwards, because the venue serves the newest of a window. Ask for minutes, or for one hour, and build
        larger bars yourself: the venue serves incomplete bars of several hours.

        Raises:
            InvalidInput: a timeframe of several hours, or a page that the venue does not serve.
        """
        if timeframe.is_intraday and timeframe.length_ns > _HOUR_NS:
            raise InvalidInput(
                f"timeframe {timeframe} is not asked of the venue, which serves such bars incomplete; use 1h"
            )
        if not 1 <= page <= MOST_BARS:
            raise InvalidInput(f"page {page} is not served; use 1 to {MOST_BARS}")
        reader = payloads.bar_reader(contract_id, timeframe, calendar)
        body: dict[str, object] = {
            "contractId": contract_id, "live": live, "startTime": iso_from_ns(from_ns), "unit": int(timeframe.unit),
            "unitNumber": timeframe.value, "limit": page, "includePartialBar": False,
        }  # fmt: skip
        found: dict[int, Bar | None] = {}
        # A bar is served only when label plus length is not after endTime, so the window ends a bar later than asked.
        end_ns = to_ns + (timeframe.length_ns or _DAY_NS)
        while True:
            answer = await self._access.read("History/retrieveBars", body | {"endTime": iso_from_ns(end_ns)})
            served = payloads.read_all("History/retrieveBars", answer.get("bars"), reader)
            fresh = {start_ns: bar for start_ns, bar in served if start_ns not in found}
            found |= fresh
            if len(served) < page or not fresh:
                break
            end_ns = min(start_ns for start_ns, _ in served)
        closed = [start_ns for start_ns, bar in found.items() if bar is None]
        if closed:
            log.warning(
                "bars_outside_sessions", contract=contract_id, timeframe=str(timeframe), calendar=calendar.name,
                bars=len(closed), first=iso_from_ns(min(closed)),
            )  # fmt: skip
        bars = [bar for bar in found.values() if bar is not None]
        return sorted((bar for bar in bars if from_ns <= bar.start_ns < to_ns), key=_by_start)

    async def place_order(self, request: OrderRequest) -> int:
        """Place an order; return its id.

        Raises:
            OutcomeUnknown: it was sent and the answer was lost.
        """
        body = {
            "accountId": request.account_id, "contractId": request.contract_id, "type": int(request.type),
            "side": int(request.side), "size": request.size, "limitPrice": request.limit_price,
            "stopPrice": request.stop_price, "trailPrice": request.trail_price, "customTag": request.custom_tag,
            "stopLossBracket": _bracket(request.stop_loss), "takeProfitBracket": _bracket(request.take_profit),
        }  # fmt: skip
        present = {name: value for name, value in body.items() if value is not None}
        tag = f"with custom tag {request.custom_tag!r}" if request.custom_tag else "sent just now"
        answer = await self._access.change(
            "Order/place", present, find_out=f"look for an order {tag} among orders() and positions()"
        )
        order_id = answer.get("orderId")
        if not isinstance(order_id, int):
            raise GatewayProtocolError("Order/place: accepted without an order id; look for it among orders()")
        return order_id

    async def modify_order(
        self,
        account_id: int,
        order_id: int,
        *,
        size: int | None = None,
        limit_price: float | None = None,
        stop_price: float | None = None,
        trail_price: float | None = None,
    ) -> None:
        """Change an order's size (contracts) or prices (points); what is None stays.

        Raises:
            OutcomeUnknown: it was sent and the answer was lost.
        """
        changes = {"size": size, "limitPrice": limit_price, "stopPrice": stop_price, "trailPrice": trail_price}
        present = {name: value for name, value in changes.items() if value is not None}
        if not present:
            raise InvalidInput(f"order {order_id}: nothing to change; name a size or a price")
        body: dict[str, object] = {"accountId": account_id, "orderId": order_id, **present}
        await self._access.change("Order/modify", body, find_out=f"look at order({account_id}, {order_id})")

    async def cancel_order(self, account_id: int, order_id: int) -> None:
        """Cancel an order.

        Raises:
            OutcomeUnknown: it was sent and the answer was lost.
        """
        body: dict[str, object] = {"accountId": account_id, "orderId": order_id}
        await self._access.change("Order/cancel", body, find_out=f"look at order({account_id}, {order_id})")

    async def open_orders(self, account_id: int) -> list[Order]:
        """Return the account's open orders; legs that wait for their entry to fill are not among them."""
        return await self._orders("Order/searchOpen", {"accountId": account_id})

    async def orders(self, account_id: int, from_ns: int, to_ns: int | None = None) -> list[Order]:
        """Return the account's orders of a stretch of time, nanoseconds UTC."""
        return await self._orders("Order/search", {"accountId": account_id, **_stretch(from_ns, to_ns)})

    async def orders_by_status(self, account_id: int, statuses: Sequence[OrderStatus]) -> list[Order]:
        """Return all the account's orders of these statuses, suspended legs too, page by page."""
        found: list[Order] = []
        while True:
            body: dict[str, object] = {
                "filter": {"accountId": account_id, "statuses": [int(status) for status in statuses]},
                "pageSize": _PAGE, "pageOffset": len(found), "sortBy": 1, "sortDirection": 0,
            }  # fmt: skip
            page = await self._orders("Order/v2/query", body)
            found += page
            if len(page) < _PAGE:
                return found

    async def order(self, account_id: int, order_id: int) -> Order:
        """Return one order by its id."""
        answer = await self._access.read("Order/searchById", {"accountId": account_id, "orderId": order_id})
        return payloads.read_one("Order/searchById", answer.get("order"), payloads.order)

    async def positions(self, account_id: int) -> list[Position]:
        """Return what the account holds."""
        answer = await self._access.read("Position/searchOpen", {"accountId": account_id})
        return payloads.read_all("Position/searchOpen", answer.get("positions"), payloads.position)

    async def close_position(self, account_id: int, contract_id: str, *, size: int | None = None) -> None:
        """Close a position at the market, or ``size`` contracts of it.

        Raises:
            OutcomeUnknown: it was sent and the answer was lost.
        """
        body: dict[str, object] = {"accountId": account_id, "contractId": contract_id}
        endpoint = "Position/closeContract"
        if size is not None:
            endpoint, body = "Position/partialCloseContract", body | {"size": size}
        await self._access.change(endpoint, body, find_out=f"look at positions({account_id})")

    async def fills(self, account_id: int, from_ns: int, to_ns: int | None = None) -> list[Fill]:
        """Return the account's executions of a stretch of time (nanoseconds UTC), voided ones too."""
        answer = await self._access.read("Trade/search", {"accountId": account_id, **_stretch(from_ns, to_ns)})
        return payloads.read_all("Trade/search", answer.get("trades"), payloads.fill)

    async def _orders(self, endpoint: str, body: dict[str, object]) -> list[Order]:
        answer = await self._access.read(endpoint, body)
        return payloads.read_all(endpoint, answer.get("orders"), payloads.order)


def _bracket(bracket: Bracket | None) -> dict[str, int] | None:
    return None if bracket is None else {"ticks": bracket.ticks, "type": int(bracket.type)}


def _stretch(from_ns: int, to_ns: int | None) -> dict[str, object]:
    end = {} if to_ns is None else {"endTimestamp": iso_from_ns(to_ns)}
    return {"startTimestamp": iso_from_ns(from_ns), **end}


def _by_start(bar: Bar) -> int:
    return bar.start_ns
