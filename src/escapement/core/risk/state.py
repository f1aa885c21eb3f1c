"""How an account and a market stand at a moment: what the risk checks compare with the limits."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Stop:
    """A working stop that closes ``size`` contracts when the market reaches ``ticks``."""

    size: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A working order that opens ``size`` contracts (negative sells); its stop, if any, lies so many ticks away."""

    size: int
    stop_ticks: int | None


@dataclass(frozen=True, slots=True)
class Exposure:
    """What an account has of one contract. Prices are whole ticks; ``fee`` is per contract and side.

    ``lots`` are signed sizes with the prices paid, first in first out. ``bid`` and ``ask`` are where longs and shorts
    could be closed now, None while no price was heard.
    """

    contract_id: str
    product: str
    tick_value: Decimal
    fee: Decimal
    lots: tuple[tuple[int, int], ...] = ()
    bid: int | None = None
    ask: int | None = None
    stops: tuple[Stop, ...] = ()
    entries: tuple[Entry, ...] = ()

    @property
    def net(self) -> int:
        """Contracts held; negative when short."""
        return sum(size for size, _ in self.lots)

    @property
    def reach(self) -> int:
        """The most contracts that may be held on one side once all entries have filled."""
        long = self.net + sum(max(0, each.size) for each in self.entries)
        short = -self.net + sum(max(0, -each.size) for each in self.entries)
        return max(long, short)

    def open_money(self) -> Decimal | None:
        """Return what closing all now would make, after its fees; None while no price was heard."""
        if not self.lots:
            return Decimal(0)
        mark = self.bid if self.net > 0 else self.ask
        if mark is None:
            return None
        ticks = sum(size * (mark - paid) for size, paid in self.lots)
        return ticks * self.tick_value - abs(self.net) * self.fee

    def worst_money(self, slippage_ticks: int) -> Decimal | None:
        """Return what is made at worst, when every entry fills and every stop fills that far beyond its price.

        None when something that is held, or would be, has no stop.
        """
        held, sign = abs(self.net), 1 if self.net > 0 else -1
        total, left = Decimal(0), held
        stops = sorted(self.stops, key=lambda stop: sign * stop.ticks)
        for stop in stops:  # those that lose most first, should there be too many
            count = min(left, stop.size)
            total += sign * count * (stop.ticks - sign * slippage_ticks) * self.tick_value
            left -= count
        if left:
            return None
        total -= sum(size * paid for size, paid in self.lots) * self.tick_value + held * self.fee
        for entry in self.entries:
            if entry.stop_ticks is None:
                return None
            each = (entry.stop_ticks + slippage_ticks) * self.tick_value + 2 * self.fee
            total -= abs(entry.size) * each
        return min(total, Decimal(0)) if not held else total


@dataclass(frozen=True, slots=True)
class AccountState:
    """How an account stands. Money is realised, after fees, unless it says otherwise.

    ``highest_end_of_day`` and ``end_of_day_balance`` are of the days before today. ``highest_equity`` counts open
    positions too. ``others``: account, product and net contracts held elsewhere. ``entry_times_ns``: when entries were
    sent today. ``blocked``: why nothing may be opened, empty when something may; ``blocked_as``: the code of that.
    """

    can_trade: bool
    balance: Decimal
    day_start_balance: Decimal
    highest_end_of_day: Decimal
    end_of_day_balance: Decimal
    highest_realised: Decimal
    highest_equity: Decimal
    paid_out: bool = False
    exposures: tuple[Exposure, ...] = ()
    others: tuple[tuple[str, str, int], ...] = ()
    entry_times_ns: tuple[int, ...] = ()
    blocked: str = ""
    blocked_as: str = "blocked"

    def equity(self) -> Decimal:
        """Return the balance if all were closed now, as far as prices are known."""
        return self.balance + sum((each.open_money() or Decimal(0) for each in self.exposures), Decimal(0))

    def worst_equity(self, slippage_ticks: int) -> Decimal | None:
        """Return the balance at worst: all stops hit, all entries filled and stopped. None when one lacks its stop."""
        total = self.balance
        for each in self.exposures:
            worst = each.worst_money(slippage_ticks)
            if worst is None:
                return None
            total += worst
        return total


@dataclass(frozen=True, slots=True)
class Market:
    """How a contract's market stands; times in nanoseconds UTC.

    ``price_ns``: when its last price was made. ``no_entries_ns``, ``flat_ns``: from when on in this session nothing may
    be opened, and nothing held; None without such a time.
    """

    now_ns: int
    is_open: bool
    price_ns: int | None
    no_entries_ns: int | None = None
    flat_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """An entry to be: ``side`` 1 buys and -1 sells, its stop lies ``stop_ticks`` from the fill (None: without)."""

    contract_id: str
    product: str
    side: int
    size: int
    stop_ticks: int | None
    tick_value: Decimal
    fee: Decimal
    known_at_ns: int
    data_complete: bool
