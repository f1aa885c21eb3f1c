"""What a shell must provide, as Protocols, and the facts that cross them.

Services speak to these only; ``escapement.wiring`` binds them to the gateway client and the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pydantic import SecretStr

from escapement.model import (
    Account,
    Bar,
    Contract,
    Fill,
    Order,
    OrderRequest,
    OrderStatus,
    Position,
    Timeframe,
    Trade,
)


@dataclass(frozen=True, slots=True)
class TradesReceived:
    """Trades that arrived together, of any contracts, in the order of arrival; ``received_ns`` is our clock, UTC."""

    trades: tuple[Trade, ...]
    received_ns: int


@dataclass(frozen=True, slots=True)
class VenueTime:
    """The venue said on the stream that it is ``at_ns`` (UTC), after every trade delivered before this fact."""

    contract_id: str
    at_ns: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class FeedLive:
    """All subscriptions of connection number ``generation`` (1, 2, …) are acknowledged: from here trades are seen."""

    generation: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class FeedLost:
    """Trades may be missed from here until the next ``FeedLive``; ``cause`` is a short stable word or phrase."""

    generation: int
    cause: str
    received_ns: int


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """The venue told of an account, an order, a position or a fill as it stands now; ``received_ns`` is our clock, UTC.

    A fill may come twice, on the stream and by asking; its id tells.
    """

    value: Account | Order | Position | Fill
    received_ns: int


FeedEvent = TradesReceived | VenueTime | FeedLive | FeedLost


class TradeFeed(Protocol):
    """A stream of trades that reconnects by itself."""

    def events(self) -> AsyncIterator[FeedEvent]:
        """Yield facts in order of arrival until closed; a slow reader slows the socket, nothing is dropped."""
        ...

    async def renew(self, cause: str) -> None:
        """Give up the connection and make another, although it seems to be alive."""
        ...

    async def aclose(self) -> None:
        """End the stream in good order."""
        ...


class AccountFeed(Protocol):
    """What happens to accounts, from a stream that reconnects by itself."""

    def events(self) -> AsyncIterator[AccountEvent | FeedLive | FeedLost]:
        """Yield facts in order of arrival until closed."""
        ...

    async def aclose(self) -> None:
        """End the stream in good order."""
        ...


class Stopper(Protocol):
    """The right to see, to cancel and to flatten, and no other; every call raises GatewayError."""

    async def accounts(self, *, only_active: bool = True) -> Sequence[Account]:
        """Return the user's accounts."""
        ...

    async def orders_by_status(self, account_id: int, statuses: Sequence[OrderStatus]) -> Sequence[Order]:
        """Return all the account's orders of these statuses."""
        ...

    async def positions(self, account_id: int) -> Sequence[Position]:
        """Return what the account holds."""
        ...

    async def cancel_order(self, account_id: int, order_id: int) -> None:
        """Cancel an order."""
        ...

    async def close_position(self, account_id: int, contract_id: str, *, size: int | None = None) -> None:
        """Close a position at the market, or ``size`` contracts of it."""
        ...


class Broker(Stopper, Protocol):
    """Where orders are sent; what changes something is sent once, and raises OutcomeUnknown when its answer is lost."""

    async def contract(self, contract_id: str) -> Contract:
        """Return one contract by its id."""
        ...

    async def place_order(self, request: OrderRequest) -> int:
        """Place an order; return its id."""
        ...

    async def modify_order(self, account_id: int, order_id: int, *, size: int | None = None) -> None:
        """Change an order's size, filled contracts counted."""
        ...

    async def order(self, account_id: int, order_id: int) -> Order:
        """Return one order by its id."""
        ...

    async def orders(self, account_id: int, from_ns: int, to_ns: int | None = None) -> Sequence[Order]:
        """Return the account's orders of a stretch of time, nanoseconds UTC."""
        ...

    async def fills(self, account_id: int, from_ns: int, to_ns: int | None = None) -> Sequence[Fill]:
        """Return the account's executions of a stretch of time, nanoseconds UTC, voided ones too."""
        ...


class BarHistory(Protocol):
    """The venue's own bars of some contract."""

    async def bars(self, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int) -> Sequence[Bar]:
        """Return the complete bars labelled in ``[from_ns, to_ns)``, nanoseconds UTC, oldest first."""
        ...


class FrameSink(Protocol):
    """Where the frames of a hub are recorded as they come."""

    def take(self, hub: str, connection: int, frame: bytes, received_ns: int) -> None:
        """Record a WebSocket message of connection number ``connection``; returns at once and never raises."""
        ...

    def conceal(self, secret: SecretStr) -> None:
        """Record no frame that holds a secret without masking it."""
        ...


class BarStore(Protocol):
    """Where completed bars are kept."""

    async def bars_between(self, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int) -> Sequence[Bar]:
        """Return stored bars whose timestamp lies in ``[from_ns, to_ns)``, oldest first."""
        ...


class StateStore(Protocol):
    """Where a stage's state is kept between runs, by name."""

    async def load_state(self, name: str) -> Mapping[str, object] | None:
        """Return the state last saved under ``name`` (plain JSON data), or None."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be so for the program to do its work.

    ``value`` says how it is, for people; ``remedy`` what to do when it is not as it should be, empty when it is.
    """

    name: str
    ok: bool
    value: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """A service as its process told of it ``silent_s`` seconds ago; see the table ``service_health``.

    ``report``: what it said of itself, plain JSON data.
    """

    service: str
    state: str
    since_ns: int
    restarts: int
    error: str
    process: str = ""
    silent_s: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with the name of what was counted and its labels."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class StageLags:
    """How many passages of a stage fell into a bucket, counted from 0, and how many seconds they took together."""

    stage: str
    bucket: int
    count: int
    sum_s: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something that people may be told of; ``at`` is UTC, ``attempts`` how often it was tried to tell of it."""

    event_id: str
    kind: str
    at: datetime
    details: Mapping[str, Any]
    attempts: int = 1
