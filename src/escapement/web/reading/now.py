"""How trading stands now: position, profit, distance to every limit, directions, what was decided and what works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from escapement.web.reading.why import DecisionShown


@dataclass(frozen=True, slots=True)
class Killed:
    """Whether all trading is stopped, why, by whom, and since when (UTC); the last two None before it ever was."""

    killed: bool
    reason: str
    by: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class PositionNow:
    """What is held of a contract: ``net`` is negative when short, ``protected`` so many contracts have a working stop.

    ``last_price`` is that of the newest bar, ``open_money`` what closing there would make, before fees; ``made`` what
    closed trades made since the account began, after fees. Money in the account's currency.
    """

    account: str
    contract_id: str
    net: int
    average_price: float | None
    protected: int
    last_price: float | None
    open_money: Decimal | None
    made: Decimal


@dataclass(frozen=True, slots=True)
class AccountNow:
    """An account on its last trading day. ``equity`` counts open positions as execution saw them last, at ``as_of``.

    ``made_today`` is what closed trades made since the day began, after fees; ``blocked``: why nothing may be opened.
    """

    account: str
    mode: str
    trade_date: date | None
    start_balance: Decimal
    balance: Decimal
    equity: Decimal
    made_today: Decimal
    open_today: Decimal
    blocked: str
    blocked_until: datetime | None
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class LimitNow:
    """A loss limit: broken at or below ``level``; ``left`` is how far the equity may still fall, ``size`` the whole way.

    ``code``: maximum_loss, firm_daily_loss, daily_loss or trailing_loss. ``ends_day``: it closes the day, not the account.
    """

    code: str
    level: Decimal
    left: Decimal
    size: Decimal
    ends_day: bool


@dataclass(frozen=True, slots=True)
class DeadlineNow:
    """The session of a contract that trades now or next; no entries from ``no_entries_at``, flat by ``flat_at``."""

    contract_id: str
    trade_date: date
    is_open: bool
    opens_at: datetime
    closes_at: datetime
    no_entries_at: datetime | None
    flat_at: datetime | None


@dataclass(frozen=True, slots=True)
class VoiceNow:
    """What an analyzer said last on a timeframe: ``direction`` 1 long, -1 short, 0 when it contradicts itself."""

    timeframe: str
    analyzer: str
    direction: int
    signal_type: str
    price: float
    since: datetime


@dataclass(frozen=True, slots=True)
class DirectionsNow:
    """What the coordinator heard last of a contract, largest timeframe first, and the position it wishes."""

    contract_id: str
    wished: int
    weighed_to: datetime | None
    voices: tuple[VoiceNow, ...]


@dataclass(frozen=True, slots=True)
class OrderNow:
    """An order that has not ended."""

    account: str
    order: str
    contract_id: str
    role: str
    side: str
    type: str
    size: int
    filled_size: int
    limit_price: float | None
    stop_price: float | None
    status: str
    at: datetime | None
    decision_id: str | None


@dataclass(frozen=True, slots=True)
class Now:
    """Everything at ``at`` (UTC). ``account`` is None before anything was executed; ``decisions`` newest first."""

    at: datetime
    kill: Killed
    account: AccountNow | None
    positions: tuple[PositionNow, ...]
    limits: tuple[LimitNow, ...]
    deadlines: tuple[DeadlineNow, ...]
    directions: tuple[DirectionsNow, ...]
    decisions: tuple[DecisionShown, ...]
    orders: tuple[OrderNow, ...]
