"""A backtest in whole numbers: the round trips of the plain case, without the objects that trade live.

The plain case is one contract of which only bars are known, traded with brackets at the venue, by entries of one size,
under no limit that follows the account's money. What is bought and sold then follows from decisions and prices alone,
and a search over settings need not make an order to know it. ``Engine`` is the definition; a property test holds this
equal to it, trip by trip.

1. Moments at which something is decided, or a session opens, closes or reaches its deadline  ``_Desk.run``
2. Between two of them: the bar that reaches stop or target, found by search                  ``_Desk.pass_to``
3. At each: what the rules of dealing ask for (``core/execution/steps.py``)                   ``_Desk.work``
4. Stretches in which each decision turns the position round and nothing else happens         ``_Desk.turn``

Prices are whole ticks, times nanoseconds UTC, money whole parts of a unit small enough for tick value and fee.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from escapement.backtest.hours import Hours
from escapement.backtest.market import LAST_US, first_reached
from escapement.backtest.run import Account, History, clock_moments
from escapement.core.dealing import product_of
from escapement.core.execution import size_of
from escapement.core.risk import AccountState, Market, Proposal, has_floors, largest_size
from escapement.model import LONG, NS_PER_SECOND, Contract

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
_FAR: Final = 1 << 62  # a price that no market reaches
_MINUTE_NS: Final = 60 * NS_PER_SECOND
_SHORTEST_TURN: Final = 4  # what is done at once has a price of its own
_NONE, _WAITING, _SENT, _DROPPED = range(4)
_PLAIN_FILLS: Final = "print"


class TripColumns(NamedTuple):
    """Round trips in order of time: ``size`` is negative for short ones; what is still open has no end.

    ``open``: when it was opened, its size and price, of what is held at the end.
    """

    opened_ns: Integers
    closed_ns: Integers
    size: Integers
    entry: Integers
    exit: Integers
    open: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What a plain backtest comes to. ``net`` is what each trip made after fees, ``fees`` all that were paid.

    ``fee`` is that of a contract and side.
    """

    from_ns: int
    to_ns: int
    start_balance: Decimal
    balance: Decimal
    histories: Mapping[str, History]
    trips: TripColumns
    net: NDArray[np.float64]
    fees: Decimal
    fee: Decimal


def is_plain(histories: Sequence[History], account: Account) -> bool:
    """Whether a backtest can be reckoned in whole numbers."""
    return (
        len(histories) == 1 and histories[0].trades is None and account.pack is None
        and not has_floors(None, account.own) and account.deal.venue_brackets and account.deal.foreign == "leave"
        and account.fills.most_per_fill is None and account.fills.stops_fill_at == _PLAIN_FILLS
    )  # fmt: skip


def reckon(
    history: History, at_ns: Integers, direction: Integers, account: Account, from_ns: int, to_ns: int
) -> Reckoned:
    """Return what comes of decisions.

    Args:
        history: of the one contract; see ``is_plain``.
        at_ns: when each decision is known, in order, not before ``from_ns``.
        direction: which position each wishes: 1, -1, or 0 for none.
        account: that is traded.
        from_ns: where it begins.
        to_ns: where it ends; what is held then stays open.
    """
    taken = int(np.searchsorted(at_ns, to_ns))
    desk = _Desk(history, account, from_ns, to_ns)
    desk.run(at_ns[:taken], direction[:taken])
    trips = desk.trips()
    unit = desk.unit
    made = trips.size * (trips.exit - trips.entry) * desk.tick_value - 2 * desk.fee * np.abs(trips.size)
    count = 2 * int(np.abs(trips.size).sum()) + (abs(trips.open[1]) if trips.open is not None else 0)
    return Reckoned(
        from_ns, to_ns, account.start_balance, Decimal(desk.balance) / unit,
        {history.contract.contract_id: history}, trips, made / unit, count * account.deal.fee,
        account.deal.fee,
    )  # fmt: skip


def entry_size(account: Account, contract: Contract) -> int:
    """Return how many contracts every entry has; 0 when the limits let none pass."""
    product, deal = product_of(contract), account.deal
    stop_ticks = deal.stop_of(product)
    if stop_ticks is None:
        return 0
    wanted = size_of(deal.sizing, contract, stop_ticks, account.own.slippage_ticks, deal.fee)
    if not wanted:
        return 0
    start = account.start_balance
    flat = AccountState(
        can_trade=True, balance=start, day_start_balance=start, highest_end_of_day=start, end_of_day_balance=start,
        highest_realised=start, highest_equity=start,
    )  # fmt: skip
    asked = Proposal(contract.contract_id, product, LONG, wanted, stop_ticks, contract.tick_value, deal.fee, 0,
                     data_complete=True)  # fmt: skip
    own = replace(account.own, orders_per_minute=None, orders_per_day=None)
    return largest_size(None, own, flat, Market(0, is_open=True, price_ns=0), asked)


class _Turns(NamedTuple):
    """Of each decision: at which bar it is done, at what price, and where the stretch of mere turns from it ends."""

    bar: Integers
    price: Integers
    end: Integers


class _Desk:
    """One contract while it is dealt in, as ``Engine`` deals, in numbers."""

    def __init__(self, history: History, account: Account, from_ns: int, to_ns: int) -> None:
        contract, deal, own, bars = history.contract, account.deal, account.own, history.smallest
        product = product_of(contract)
        parts = max(0, *(-int(each.as_tuple().exponent)
                         for each in (contract.tick_value, deal.fee, account.start_balance)))  # fmt: skip
        self.unit: int = 10**parts
        self.tick_value: int = int(contract.tick_value * self.unit)
        self.fee: int = int(deal.fee * self.unit)
        self.balance: int = int(account.start_balance * self.unit)
        self.size: int = entry_size(account, contract)
        self.stop_away: int = deal.stop_of(product) or 0
        target = deal.target_of(product)
        self.target_away: int = _FAR if target is None else target
        self.slip: int = account.fills.slippage_ticks
        self.across: int = account.fills.slippage_ticks + account.fills.spread_ticks
        self.per_minute, self.per_day = own.orders_per_minute, own.orders_per_day
        self.oldest_price_s, self.oldest_decision_s = own.oldest_price_s, own.oldest_decision_s
        self.bars, self.to_ns = bars, to_ns
        self.count: int = bars.begins_ns.size
        self.opens, self.ends = bars.begins, bars.ends
        self.clocks = clock_moments([history], account, from_ns, to_ns)
        self.hours = Hours(history.calendar, account, from_ns, to_ns)
        self.first: int = bisect_right(self.ends, from_ns)
        self.next: int = self.first  # the bar that is told next, or is being told
        self.is_begun: bool = False
        self.quote: int | None = None  # the first price of the bar that has begun
        self.held: int = 0
        self.entry: int = 0
        self.opened_ns: int = 0
        self.stop: int = 0
        self.target: int = 0
        self.entering: int = 0  # an entry that waits for a price, by its direction
        self.is_closing: bool = False
        self.wish: int = 0
        self.wished_ns: int = 0
        self.standing: int = _NONE
        self.waits: bool = False
        self.entries_ns: list[int] = []
        self.session: int = -1
        self.low: int = -_FAR  # between these two nothing is reached before the next decision
        self.high: int = _FAR
        self._rows: list[tuple[int, int, int, int, int]] = []
        self._parts: list[Integers] = []

    def trips(self) -> TripColumns:
        """Return the round trips so far."""
        self._shelve()
        columns = np.concatenate(self._parts, axis=1) if self._parts else np.empty((5, 0), np.int64)
        held = (self.opened_ns, self.held, self.entry) if self.held else None
        return TripColumns(columns[0], columns[1], columns[2], columns[3], columns[4], held)

    def _shelve(self) -> None:
        if self._rows:
            self._parts.append(np.array(self._rows, np.int64).T)
            self._rows = []

    def run(self, at_ns: Integers, direction: Integers) -> None:
        """Do what was decided, in order of time, and what follows until the end."""
        turns = self._turns(at_ns, direction)
        lows, highs = self._extremes(turns.bar, at_ns)
        times, wishes, ends, stretches = at_ns.tolist(), direction.tolist(), turns.end.tolist(), len(lows)
        clock, index = 0, 0
        while index < len(times):
            now_ns = times[index]
            while clock < len(self.clocks) and self.clocks[clock] <= now_ns:
                self.pass_to(self.clocks[clock])
                self.strike(self.clocks[clock])
                clock += 1
            self.pass_to(now_ns)
            self.low, self.high = (lows[index], highs[index]) if index < stretches else (-_FAR, _FAR)
            self.settle(now_ns)
            self.wish, self.wished_ns, self.standing = wishes[index], now_ns, _WAITING
            self.work(now_ns)
            last = ends[index]
            if last - index > _SHORTEST_TURN:
                self.pass_to(now_ns + 1)
                if self.held == wishes[index] * self.size and self.opened_ns == now_ns and not self.waits:
                    last = self.turn(at_ns, turns, index, last)
                    self.low, self.high = (lows[last], highs[last]) if last < stretches else (-_FAR, _FAR)
                    index = last
            index += 1
        self.low, self.high = -_FAR, _FAR
        for now_ns in self.clocks[clock:]:
            self.pass_to(now_ns)
            self.strike(now_ns)
        self.pass_to(self.to_ns)

    def _extremes(self, bar: Integers, at_ns: Integers) -> tuple[list[int], list[int]]:
        """Return the lowest and highest price from each decision to the next, for those before the last bar."""
        begins = bar[: int(np.searchsorted(bar, self.count))]
        if not begins.size:
            return [], []
        # reduceat gives the one element where two begin at the same bar, which is none too many.
        low, high = np.minimum.reduceat(self.bars.low, begins), np.maximum.reduceat(self.bars.high, begins)
        # A decision within a bar comes after what that bar began with.
        before = np.flatnonzero(self.bars.begins_ns[begins[1:]] < at_ns[1 : begins.size])
        within = begins[before + 1]
        low[before] = np.minimum(low[before], self.bars.low[within])
        high[before] = np.maximum(high[before], self.bars.high[within])
        return low.tolist(), high.tolist()

    def _turns(self, at_ns: Integers, direction: Integers) -> _Turns:
        """Return which decisions do no more than turn round what the one before them opened at a bar's first price."""
        begins, ends = self.bars.begins_ns, self.bars.ends_ns
        bar = np.searchsorted(ends, at_ns, side="right")
        place = np.minimum(bar, max(self.count - 1, 0))
        if not self.count or not at_ns.size or not self.size:
            return _Turns(bar, np.zeros(at_ns.size, np.int64), np.arange(at_ns.size) + 1)
        oldest_ns = int(self.oldest_price_s * NS_PER_SECOND)
        is_plain = (bar < self.count) & (bar > self.first) & (begins[place] == at_ns) & (direction != 0)
        is_plain &= (at_ns - ends[np.maximum(place - 1, 0)] <= oldest_ns) & self.hours.lets_enter(at_ns)
        first = self.bars.open[place]
        price = first + np.where(direction > 0, self.across, -self.slip)
        is_turn = np.zeros(at_ns.size, np.bool_)
        is_turn[1:] = is_plain[1:] & is_plain[:-1] & (direction[1:] == -direction[:-1]) & (bar[1:] > bar[:-1])
        if is_turn.any():
            clocks = np.searchsorted(np.array(self.clocks, np.int64), at_ns, side="right")
            within = np.minimum(bar, self.count - 1)
            low = np.minimum(np.minimum.reduceat(self.bars.low, within)[:-1], first[1:])
            high = np.maximum(np.maximum.reduceat(self.bars.high, within)[:-1], first[1:])
            for_long = (low <= price[:-1] - self.stop_away) | (high >= price[:-1] + self.target_away)
            for_short = (high >= price[:-1] + self.stop_away) | (low <= price[:-1] - self.target_away)
            is_turn[1:] &= (clocks[1:] == clocks[:-1]) & ~np.where(direction[:-1] > 0, for_long, for_short)
        breaks = np.append(np.flatnonzero(~is_turn), at_ns.size)
        return _Turns(bar, price, breaks[np.searchsorted(breaks, np.arange(at_ns.size) + 1)])

    def turn(self, at_ns: Integers, turns: _Turns, index: int, end: int) -> int:
        """Turn the position round at each of the decisions after ``index`` and before ``end``; return the last done."""
        times, entries = at_ns[index:end], turns.price[index:end]
        # What is held is closed at the other side of the quote that opens the opposite.
        sizes = np.where(np.arange(times.size) % 2 == 0, self.held, -self.held)
        made = sizes[:-1] * (entries[1:] - entries[:-1]) * self.tick_value
        fees = 2 * self.fee * self.size
        closed = self.balance + np.cumsum(made) - self.fee * self.size - fees * np.arange(made.size)
        done = self._allowed(times, closed < 0)
        if not done:
            return index
        columns = times[:done], times[1 : done + 1], sizes[:done], entries[:done], entries[1 : done + 1]
        self._shelve()
        self._parts.append(np.stack([each // 1_000 * 1_000 if number < 2 else each
                                     for number, each in enumerate(columns)]))  # fmt: skip
        self.entries_ns += times[1 : done + 1].tolist()
        self.balance = int(closed[done - 1]) - self.fee * self.size
        self.next, self.is_begun = int(turns.bar[index + done]), True
        self.quote = int(self.bars.open[self.next])
        self.wish, self.wished_ns, self.standing = int(np.sign(sizes[done])), int(times[done]), _SENT
        self.hold(self.wish, int(entries[done]), int(times[done]))
        return index + done

    def _allowed(self, times: Integers, is_broke: Flags) -> int:
        """Return how many entries after the first pass without one that the account or its limits refuse."""
        count = int(is_broke.size)
        bad = [int(is_broke.argmax())] if is_broke.any() else []
        if self.per_day is not None:
            bad.append(max(0, self.per_day - len(self.entries_ns)))
        if self.per_minute is not None:
            before = np.array(self.entries_ns[-self.per_minute :], np.int64)
            sent = np.concatenate((before, times[1:]))
            near = sent[self.per_minute :] - sent[: -self.per_minute] < _MINUTE_NS
            if near.any():
                bad.append(max(0, int(near.argmax()) + self.per_minute - before.size))
        return min([count, *bad])

    def pass_to(self, until_ns: int) -> None:
        """Let the market do what matters before a moment."""
        while True:
            if self.waits or self.entering or self.is_closing:
                index = self.next
            elif self.held:
                found = self._reached(until_ns)
                if found is None:
                    return
                index = found
            else:
                return
            if self.is_begun and index == self.next:
                at_ns = self.ends[index] - LAST_US
                if at_ns >= until_ns:
                    return
                self.last(index, at_ns)
            else:
                if index >= self.count or self.opens[index] >= until_ns:
                    return
                self.begin(index)

    def _reached(self, until_ns: int) -> int | None:
        down, up = (self.stop, self.target) if self.held > 0 else (self.target, self.stop)
        if self.low > down and self.high < up:
            return None
        end = max(bisect_left(self.opens, until_ns), self.next + self.is_begun)
        return first_reached(self.bars.low, self.bars.high, self.next, end, (down, up))

    def begin(self, index: int) -> None:
        """Let a bar begin: its first price is printed."""
        now_ns = self.opens[index]
        self.next, self.is_begun = index, True
        self.quote = price = int(self.bars.open[index])
        changed = False
        if self.held:
            sign = 1 if self.held > 0 else -1
            if (price - self.stop) * sign <= 0:
                self.leave(price - sign * self.slip, now_ns)
                changed = True
            elif (price - self.target) * sign > 0:
                self.leave(self.target, now_ns)
                changed = True
            elif self.is_closing:
                self.leave(self._market(-sign), now_ns)
                changed = True
        elif self.entering:
            self.enter(self.entering, now_ns)
            changed = True
        if changed and not self.waits:
            self.work(now_ns)
        if self.waits:
            self.waits = False
            self.work(now_ns)

    def last(self, index: int, now_ns: int) -> None:
        """Let a bar that has begun end: the market was everywhere in its range."""
        self.quote = None
        if self.held:
            sign = 1 if self.held > 0 else -1
            low, high = int(self.bars.low[index]), int(self.bars.high[index])
            worst, best = (low, high) if sign > 0 else (high, low)
            left = True
            if (worst - self.stop) * sign <= 0:
                self.leave(self.stop - sign * self.slip, now_ns)
            elif (best - self.target) * sign > 0:
                self.leave(self.target, now_ns)
            else:
                left = False
            if left and not self.waits:
                self.work(now_ns)
        self.next, self.is_begun = index + 1, False
        if self.waits:
            self.waits = False
            self.work(now_ns)

    def settle(self, now_ns: int) -> None:
        """Let the market stand where it stood before a moment."""
        ended = bisect_right(self.ends, now_ns, self.next)
        if ended > self.next:
            self.next, self.is_begun, self.quote = ended, False, None
        if not self.is_begun and self.next < self.count and self.opens[self.next] < now_ns:
            self.is_begun, self.quote = True, int(self.bars.open[self.next])

    def strike(self, now_ns: int) -> None:
        """Do what a moment asks for at which a session opens, closes or reaches its deadline."""
        self.settle(now_ns)
        part = self.hours.at(now_ns)
        if part >= 0 and self.hours.session[part] != self.session:
            self.session = self.hours.session[part]
            self.entries_ns.clear()
        if self.held or self.entering or self.is_closing:
            self.work(now_ns)

    def work(self, now_ns: int) -> None:
        """Do what has to be done, until nothing has to, or a price is waited for."""
        part = self.hours.at(now_ns)
        must_go = part >= 0 and now_ns >= self.hours.flat[part]
        while True:
            wants = self.standing == _WAITING and self.wish != 0
            if wants and (must_go if self.is_closing else self.held * self.wish > 0):
                self.standing = _DROPPED
            elif self.is_closing:
                return
            elif (self.held or self.entering) and (must_go or self._is_unwished()):
                if not self._wind_up(now_ns, part):
                    return
            elif not wants or self.entering:
                return
            elif must_go:
                self.standing = _DROPPED
            else:
                self._ask(now_ns, part)
                if self.waits:
                    return

    def _is_unwished(self) -> bool:
        return self.standing != _NONE and (self.held or self.entering) * self.wish <= 0

    def _wind_up(self, now_ns: int, part: int) -> bool:
        """Cancel the entry or close the position; return whether the venue takes that now."""
        if self.entering:
            self.entering = 0
        elif part < 0:
            self.waits = True
            return False
        elif self.quote is None:
            self.is_closing = True
        else:
            self.leave(self._market(-1 if self.held > 0 else 1), now_ns)
        return True

    def _ask(self, now_ns: int, part: int) -> None:
        """Send the entry that is wished, unless something refuses it."""
        self.standing = _DROPPED
        if (now_ns - self.wished_ns) / NS_PER_SECOND > self.oldest_decision_s or part < 0:
            return
        heard_ns = self._heard_ns()
        if heard_ns is None or (now_ns - heard_ns) / NS_PER_SECOND > self.oldest_price_s:
            self.standing, self.waits = _WAITING, True
            return
        if now_ns >= self.hours.no_entries[part] or not self.size or self._is_too_often(now_ns):
            return
        self.standing = _SENT
        self.entries_ns.append(now_ns)
        if self.balance < 0:
            self.waits = False  # the venue refuses who has nothing
        elif self.quote is None:
            self.entering = self.wish
        else:
            self.enter(self.wish, now_ns)

    def _is_too_often(self, now_ns: int) -> bool:
        if self.per_minute is not None:
            begin = bisect_right(self.entries_ns, now_ns - _MINUTE_NS)
            if len(self.entries_ns) - begin + 1 > self.per_minute:
                return True
        return self.per_day is not None and len(self.entries_ns) + 1 > self.per_day

    def _heard_ns(self) -> int | None:
        """Return when the last price was printed."""
        if self.is_begun:
            return self.opens[self.next]
        return None if self.next == self.first else self.ends[self.next - 1]

    def _market(self, sign: int) -> int:
        """Return where a market order trades now."""
        price = self.quote or 0
        return price + self.across if sign > 0 else price - self.slip

    def enter(self, direction: int, now_ns: int) -> None:
        """Open a position at the present quote."""
        self.entering = 0
        self.balance -= self.fee * self.size
        self.hold(direction, self._market(direction), now_ns)

    def hold(self, direction: int, price: int, now_ns: int) -> None:
        """Hold a position, with stop and target."""
        self.held, self.entry, self.opened_ns = direction * self.size, price, now_ns // 1_000 * 1_000
        self.stop, self.target = price - direction * self.stop_away, price + direction * self.target_away

    def leave(self, price: int, now_ns: int) -> None:
        """Close the position at a price."""
        self._rows.append((self.opened_ns, now_ns // 1_000 * 1_000, self.held, self.entry, price))
        self.balance += self.held * (price - self.entry) * self.tick_value - self.fee * abs(self.held)
        self.held, self.is_closing = 0, False
