"""What everyone who deals for an account shares: where orders go, what is known, and what may be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from escapement.core.dealing import Dealer, DealParams
from escapement.core.execution import OrderNote, Wish
from escapement.core.risk import Verdict
from escapement.model import NS_PER_SECOND
from escapement.ports import Broker
from escapement.services.bookkeeping import Bookkeeper

# What protects waits no longer for the database.
WRITE_S = 1.0
_HOUR_NS = 3_600 * NS_PER_SECOND


class EntryStore(Protocol):
    """Where entries are written down before they are sent."""

    async def settle_entry(
        self, account: str, wish: Wish, at_ns: int, size: int, verdict: Verdict | None, order: OrderNote | None
    ) -> bool:
        """Move a wish's entry on from waiting; return whether it was still waiting."""
        ...

    async def intend(self, account: str, order: OrderNote) -> None:
        """Write an order down before it is sent."""
        ...


class Clock(Protocol):
    """What time it is at the venue."""

    def now_ns(self) -> int:
        """Return the venue's time, nanoseconds UTC; 0 before anything was heard."""
        ...

    def hear(self, at_ns: int) -> None:
        """Take note of a time that the venue told."""
        ...


@dataclass(slots=True)
class Dealing:
    """The account at work: ``dealer`` knows what may be done, the others do it."""

    account: str
    dealer: Dealer
    broker: Broker
    store: EntryStore
    keeper: Bookkeeper
    clock: Clock
    was_asked: bool = False  # the venue was asked for everything since the start
    is_current: bool = False  # and since its events were interrupted last
    learnt_to_ns: int = 0  # what happened at the venue until then is in the book

    @property
    def account_id(self) -> int:
        """The account, as the venue numbers it."""
        return self.dealer.book.account_id

    @property
    def params(self) -> DealParams:
        """How orders are made and looked after."""
        return self.dealer.params

    def news_from_ns(self) -> int:
        """Return a moment from which on all news is asked for, nanoseconds UTC: of more than a day, and all unheard."""
        known_ns = self.learnt_to_ns or max(
            (holding.fills[-1].at_ns for holding in self.keeper.book.holdings.values() if holding.fills), default=0
        )
        return max(self.keeper.book.since_ns, min(self.clock.now_ns() - 26 * _HOUR_NS, known_ns - _HOUR_NS))
