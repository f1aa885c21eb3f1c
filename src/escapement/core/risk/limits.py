"""The limits an account is traded under: a firm's rules, and the trader's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from enum import StrEnum

from escapement.errors import InvalidInput


class Trailing(StrEnum):
    """What lifts the floor of a maximum loss: nothing, the balance at the end of a day, or what it ever was."""

    FIXED = "fixed"
    END_OF_DAY = "end_of_day"
    REALISED = "realised"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Tier:
    """From this profit at the end of a day on, so many lots may be held."""

    profit: Decimal
    lots: Decimal


@dataclass(frozen=True, slots=True)
class Pack:
    """A firm's rules of one kind of account, valid from a date. Money is account money; lots count in minis.

    ``starting_balance``: what the account begins with by the firm's reckoning, which is 0 where only profit counts.
    ``maximum_loss``: how far below the highest point (``trailing`` says of what) the account may fall; ``locks_at``:
    where its floor stops rising. ``daily_loss``: what a day may lose. ``most_lots`` and ``tiers``: how many may be held
    over all products together; products of ``micros`` count a tenth. ``no_entries_after``, ``flatten_at``: times of day
    at the exchange; when a session closes early, they lie so far before its close as ``minutes_before_close`` tells.
    ``own_device``: the firm forbids trading from servers. ``no_hedging``: no opposite positions on other accounts, nor
    in products of the same group of ``correlated``. ``profit_target`` passes the account, when no day made more than
    ``best_day_share`` of the profit. ``payout_days``: after so many days that made ``payout_day_profit`` it pays out.
    """

    name: str
    title: str
    valid_from: date
    starting_balance: Decimal
    maximum_loss: Decimal | None = None
    trailing: Trailing = Trailing.FIXED
    locks_at: Decimal | None = None
    daily_loss: Decimal | None = None
    most_lots: Decimal | None = None
    tiers: tuple[Tier, ...] = ()
    micros: frozenset[str] = frozenset()
    no_entries_after: time | None = None
    flatten_at: time | None = None
    minutes_before_close: int = 5
    own_device: bool = False
    no_hedging: bool = False
    correlated: tuple[frozenset[str], ...] = ()
    profit_target: Decimal | None = None
    best_day_share: Decimal | None = None
    payout_days: int | None = None
    payout_day_profit: Decimal = Decimal(0)

    def lots(self, product: str, size: int) -> Decimal:
        """Return how many lots ``size`` contracts of a product count."""
        return abs(size) * (Decimal("0.1") if product in self.micros else Decimal(1))

    def lots_allowed(self, profit: Decimal) -> Decimal | None:
        """Return how many lots may be held after a day that ended with this profit; None for any number."""
        reached = [tier.lots for tier in self.tiers if profit >= tier.profit]
        most = [*([max(reached)] if reached else []), *([] if self.most_lots is None else [self.most_lots])]
        return min(most, default=None)


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """The trader's own limits; None is none. Money is account money, per trade and day after fees.

    ``slippage_ticks``: what a stop may cost beyond its price. ``oldest_price_s``: how old the last price may be, and
    ``oldest_decision_s`` the decision, when an entry is sent.

    Raises:
        InvalidInput: a number is not positive.
    """

    most_contracts: int | None = None
    most_per_order: int | None = None
    orders_per_minute: int | None = 10
    orders_per_day: int | None = None
    trade_loss: Decimal | None = None
    daily_loss: Decimal | None = None
    trailing_loss: Decimal | None = None
    trailing: Trailing = Trailing.REALISED
    slippage_ticks: int = 2
    oldest_price_s: float = 10.0
    oldest_decision_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("most_contracts", "most_per_order", "orders_per_minute", "orders_per_day", "trade_loss",
                     "daily_loss", "trailing_loss", "oldest_price_s", "oldest_decision_s"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InvalidInput(f"{name} {value} is not positive; leave it out for no such limit")
        if self.slippage_ticks < 0:
            raise InvalidInput(f"slippage_ticks {self.slippage_ticks} is negative; use 0 or more")
