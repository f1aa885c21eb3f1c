"""What everyone who deals for an account shares: where orders go, what is known, and what may be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal, Protocol

from escapement.core.execution import AccountDay, KillSwitch, OrderNote, Sizing, Wish, remaining, role_of
from escapement.core.execution.tags import Role
from escapement.core.risk import AccountState, Entry, Exposure, Market, OwnLimits, Pack, Stop, Verdict
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Contract, OrderStatus, Session, SessionCalendar
from escapement.ports import Broker
from escapement.services.bookkeeping import STOPS, Bookkeeper
from escapement.services.marketclock import MarketClock

_HOUR_NS = 3_600 * NS_PER_SECOND

Foreign = Literal["adopt", "leave", "flatten"]


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


@dataclass(frozen=True, slots=True)
class DealParams:
    """How orders are made and looked after.

    ``stop_ticks``, ``target_ticks``: their distance from the entry, by product code, ``*`` for all others.
    ``venue_brackets``: stop and target go with the entry where the account allows it. ``foreign``: what becomes of
    orders and positions of others. ``fee``: per contract and side. ``bracket_grace_s``: how long the venue's legs may
    take; ``effect_s``: how long anything may take to show; ``lookup_s``: how long an order whose answer was lost is
    looked for; ``protect_s``: how long a position may lack its stop before it is closed.
    """

    stop_ticks: Mapping[str, int]
    target_ticks: Mapping[str, int] = field(default_factory=dict)
    sizing: Sizing = field(default_factory=Sizing)
    venue_brackets: bool = True
    foreign: Foreign = "leave"
    fee: Decimal = Decimal("0.61")
    bracket_grace_s: float = 2.0
    effect_s: float = 1.5
    lookup_s: float = 5.0
    protect_s: float = 10.0

    def stop_of(self, product: str) -> int | None:
        """Return the distance of a product's stop, in ticks."""
        return self.stop_ticks.get(product, self.stop_ticks.get("*"))

    def target_of(self, product: str) -> int | None:
        """Return the distance of a product's target, in ticks; None without one."""
        return self.target_ticks.get(product, self.target_ticks.get("*"))


@dataclass(slots=True)
class Quote:
    """The last price of a contract in ticks, and when it was heard of (the market's time, nanoseconds UTC)."""

    ticks: int
    at_ns: int


@dataclass(slots=True)
class Dealing:
    """The account at work.

    ``deadlines_of`` returns from when on nothing may be opened in a session, and when all has to be closed.
    ``highest_before``: the highest balance at the end of a day before we kept days. ``paid_out``: there was a payout.
    """

    account: str
    account_id: int
    broker: Broker
    store: EntryStore
    keeper: Bookkeeper
    clock: MarketClock
    params: DealParams
    pack: Pack | None
    own: OwnLimits
    start_balance: Decimal
    calendar_of: Callable[[str], SessionCalendar]
    deadlines_of: Callable[[Session], tuple[int | None, int | None]]
    highest_before: Decimal | None = None
    paid_out: bool = False
    quotes: dict[str, Quote] = field(default_factory=dict)
    kill: KillSwitch = field(default_factory=KillSwitch)
    blocked: str = ""
    can_trade: bool = True
    was_asked: bool = False  # the venue was asked for everything since the start
    is_current: bool = False  # and since its events were interrupted last
    learnt_to_ns: int = 0  # what happened at the venue until then is in the book
    brackets_refused: bool = False
    days: dict[date, AccountDay] = field(default_factory=dict)
    today: date | None = None
    entries_ns: list[int] = field(default_factory=list)
    others: tuple[tuple[str, str, int], ...] = ()
    reserved: dict[str, Entry] = field(default_factory=dict)  # entries on their way, which the book does not know yet

    @property
    def balance(self) -> Decimal:
        """What the account has by our fills, after fees."""
        return self.start_balance + self.keeper.book.made()

    def stop_all(self, contract_id: str) -> str:
        """Return why everything of a contract has to go now; empty when nothing has to."""
        if self.kill.killed:
            return f"trading was stopped: {self.kill.reason}"
        if self.blocked:
            return self.blocked
        session = self.session(contract_id)
        if session is not None:
            flat_ns = self.deadlines_of(session)[1]
            if flat_ns is not None and self.clock.now_ns() >= flat_ns:
                return "the deadline of this session has come"
        return ""

    def session(self, contract_id: str) -> Session | None:
        """Return the session in which a contract trades now; None when it does not, or its sessions are not known."""
        try:
            found = self.calendar_of(contract_id).locate(self.clock.now_ns())
        except InvalidInput:
            return None  # so that nothing is opened in it, and what is held is still protected
        return None if found is None else found[1]

    def market(self, contract_id: str) -> Market:
        """Return how a contract's market stands."""
        session, quote = self.session(contract_id), self.quotes.get(contract_id)
        no_entries_ns, flat_ns = (None, None) if session is None else self.deadlines_of(session)
        return Market(
            self.clock.now_ns(), session is not None, None if quote is None else quote.at_ns, no_entries_ns, flat_ns
        )

    def state(self) -> AccountState:
        """Return how the account stands, for the risk checks."""
        before = [self.start_balance, *([] if self.highest_before is None else [self.highest_before])]
        earlier = [day for key, day in sorted(self.days.items()) if key != self.today]
        today = self.days.get(self.today) if self.today is not None else None
        start = earlier[-1].balance if earlier else self.start_balance
        day_start = start if today is None else today.start_balance
        balance = self.balance
        known = [*earlier, *([] if today is None else [today])]
        return AccountState(
            can_trade=self.can_trade, balance=balance, day_start_balance=day_start,
            highest_end_of_day=max([*before, *(each.balance for each in earlier)]),
            end_of_day_balance=start,
            highest_realised=max([*before, balance, *(each.highest_balance for each in known)]),
            highest_equity=max([*before, self.equity(), *(each.highest_equity for each in known)]),
            paid_out=self.paid_out, exposures=tuple(self.exposure(each) for each in self.keeper.book.holdings),
            others=self.others, entry_times_ns=tuple(self.entries_ns), blocked=self.blocked,
        )  # fmt: skip

    def equity(self) -> Decimal:
        """Return what the account would have if all were closed a tick worse than the last price, after fees."""
        total = self.balance
        for contract_id, holding in self.keeper.book.holdings.items():
            quote = self.quotes.get(contract_id)
            for lot in holding.lots:
                sign = 1 if lot.size > 0 else -1
                mark = lot.ticks if quote is None else quote.ticks - sign
                total += lot.size * (mark - lot.ticks) * holding.contract.tick_value
                total -= abs(lot.size) * self.params.fee
        return total

    def exposure(self, contract_id: str) -> Exposure:
        """Return what there is of a contract: lots, marks, stops and entries."""
        book = self.keeper.book
        holding, quote = book.holdings[contract_id], self.quotes.get(contract_id)
        stops, entries, working = [], [], book.working(contract_id)
        for order in working:
            left = remaining(order)
            sign = 1 - 2 * int(order.side)
            if role_of(order.custom_tag) is Role.ENTRY or (sign * holding.net >= 0 and order.type not in STOPS):
                is_own = role_of(order.custom_tag) is Role.ENTRY
                stop = self.params.stop_of(product_of(holding.contract)) if is_own else None
                entries.append(Entry(sign * left, stop))
            elif order.type in STOPS and order.status is not OrderStatus.SUSPENDED and order.stop_price is not None:
                stops.append(Stop(left, holding.grid.nearest(order.stop_price)))
        if contract_id in self.reserved and not any(role_of(each.custom_tag) is Role.ENTRY for each in working):
            entries.append(self.reserved[contract_id])
        return Exposure(
            contract_id, product_of(holding.contract), holding.contract.tick_value, self.params.fee,
            tuple((lot.size, lot.ticks) for lot in holding.lots), None if quote is None else quote.ticks - 1,
            None if quote is None else quote.ticks + 1, tuple(stops), tuple(entries),
        )  # fmt: skip

    def news_from_ns(self) -> int:
        """Return a moment from which on all news is asked for, nanoseconds UTC: of more than a day, and all unheard."""
        known_ns = self.learnt_to_ns or max(
            (holding.fills[-1].at_ns for holding in self.keeper.book.holdings.values() if holding.fills), default=0
        )
        return max(self.keeper.book.since_ns, min(self.clock.now_ns() - 26 * _HOUR_NS, known_ns - _HOUR_NS))


def product_of(contract: Contract) -> str:
    """Return a contract's product code, such as MES, from the venue's symbol (``F.US.MES``).

    Raises:
        InvalidInput: the symbol has no such form.
    """
    code = contract.symbol_id.rpartition(".")[2]
    if not code:
        raise InvalidInput(f"contract {contract.contract_id}: symbol {contract.symbol_id!r} names no product")
    return code
