"""What follows, for one account, from all that is known of it: live and in a backtest the same.

Whoever drives it tells it the time, the prices and what is wished; what it answers is done by others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from escapement.core.dealing.terms import DealParams, product_of
from escapement.core.execution import (
    STOPS,
    AccountBook,
    AccountDay,
    Case,
    Enter,
    KillSwitch,
    Protect,
    Role,
    Standing,
    Step,
    Wish,
    next_step,
    remaining,
    role_of,
    size_of,
    tag,
)
from escapement.core.risk import (
    AccountState,
    Alarm,
    Check,
    Entry,
    Exposure,
    Market,
    OwnLimits,
    Pack,
    Proposal,
    Stop,
    Trailing,
    Verdict,
    check_entry,
    has_floors,
    largest_size,
    watch,
)
from escapement.errors import InvalidInput
from escapement.model import (
    LONG,
    NS_PER_SECOND,
    Bracket,
    Contract,
    OrderRequest,
    OrderSide,
    OrderStatus,
    OrderType,
    Session,
    SessionCalendar,
)

_PASSING: Final = {"price_stale"}
OTHERS: Final = "what others ordered or hold is flattened"


@dataclass(slots=True)
class LastPrice:
    """The last price of a contract in ticks, and when it was heard of (the market's time, nanoseconds UTC)."""

    ticks: int
    at_ns: int


class _Past(NamedTuple):
    """Several trading days: the balance at the end of the last, and the highest of all."""

    balance: Decimal
    highest_end: Decimal
    highest_balance: Decimal
    highest_equity: Decimal


@dataclass(frozen=True, slots=True)
class Situation:
    """How a contract stands, what to do next about it, and in words what asks for that."""

    case: Case
    step: Step | None
    why: str


@dataclass(slots=True)
class Dealer:
    """One account.

    ``now_ns`` tells the market's time (UTC). ``deadlines_of`` returns from when on nothing may be opened in a session,
    and when all has to be closed. ``highest_before``: the highest balance at the end of a day before days were kept.
    ``paid_out``: there was a payout. ``others``: account, product and net contracts held elsewhere. ``reserved``:
    entries on their way, which the book does not know yet.
    """

    book: AccountBook
    params: DealParams
    pack: Pack | None
    own: OwnLimits
    start_balance: Decimal
    now_ns: Callable[[], int]
    calendar_of: Callable[[str], SessionCalendar]
    deadlines_of: Callable[[Session], tuple[int | None, int | None]]
    highest_before: Decimal | None = None
    paid_out: bool = False
    prices: dict[str, LastPrice] = field(default_factory=dict)
    kill: KillSwitch = field(default_factory=KillSwitch)
    blocked: str = ""
    can_trade: bool = True
    brackets_refused: bool = False
    days: dict[date, AccountDay] = field(default_factory=dict)
    today: date | None = None
    entries_ns: list[int] = field(default_factory=list)
    others: tuple[tuple[str, str, int], ...] = ()
    reserved: dict[str, Entry] = field(default_factory=dict)
    # What is asked again and again at one moment.
    _known_sessions: dict[str, tuple[int, Session | None]] = field(default_factory=dict, init=False)
    _known_deadlines: tuple[Session, tuple[int | None, int | None]] | None = field(default=None, init=False)
    _known_past: tuple[tuple[date | None, int, int], _Past | None] | None = field(default=None, init=False)

    @property
    def balance(self) -> Decimal:
        """What the account has by our fills, after fees."""
        return self.start_balance + self.book.made()

    @property
    def follows_open_profit(self) -> bool:
        """Whether some limit follows what open positions made, so that it moves with every price."""
        firms = self.pack is not None and self.pack.maximum_loss is not None and self.pack.trailing is Trailing.OPEN
        return firms or (self.own.trailing_loss is not None and self.own.trailing is Trailing.OPEN)

    def stop_all(self, contract_id: str) -> str:
        """Return why everything of a contract has to go now; empty when nothing has to."""
        if self.kill.killed:
            return f"trading was stopped: {self.kill.reason}"
        if self.blocked:
            return self.blocked
        session = self.session(contract_id)
        if session is not None:
            flat_ns = self._deadlines(session)[1]
            if flat_ns is not None and self.now_ns() >= flat_ns:
                return "the deadline of this session has come"
        return ""

    def session(self, contract_id: str) -> Session | None:
        """Return the session in which a contract trades now; None when it does not, or its sessions are not known."""
        now_ns = self.now_ns()
        known = self._known_sessions.get(contract_id)
        if known is not None and known[0] == now_ns:
            return known[1]
        try:
            found = self.calendar_of(contract_id).locate(now_ns)
        except InvalidInput:
            return None  # so that nothing is opened in it, and what is held is still protected
        session = None if found is None else found[1]
        self._known_sessions[contract_id] = now_ns, session
        return session

    def _deadlines(self, session: Session) -> tuple[int | None, int | None]:
        if self._known_deadlines is None or self._known_deadlines[0] is not session:
            self._known_deadlines = session, self.deadlines_of(session)
        return self._known_deadlines[1]

    def market(self, contract_id: str) -> Market:
        """Return how a contract's market stands."""
        session, price = self.session(contract_id), self.prices.get(contract_id)
        no_entries_ns, flat_ns = (None, None) if session is None else self._deadlines(session)
        return Market(
            self.now_ns(), session is not None, None if price is None else price.at_ns, no_entries_ns, flat_ns
        )

    def state(self) -> AccountState:
        """Return how the account stands, for the risk checks."""
        before = [self.start_balance, *([] if self.highest_before is None else [self.highest_before])]
        past = self._past()
        today = self.days.get(self.today) if self.today is not None else None
        start = self.start_balance if past is None else past.balance
        day_start = start if today is None else today.start_balance
        balance = self.balance
        known = [each for each in (past, today) if each is not None]
        return AccountState(
            can_trade=self.can_trade, balance=balance, day_start_balance=day_start,
            highest_end_of_day=max([*before, *([] if past is None else [past.highest_end])]),
            end_of_day_balance=start,
            highest_realised=max([*before, balance, *(each.highest_balance for each in known)]),
            highest_equity=max([*before, self._equity(balance), *(each.highest_equity for each in known)]),
            paid_out=self.paid_out, exposures=tuple(self.exposure(each) for each in self.book.holdings),
            others=self.others, entry_times_ns=tuple(self.entries_ns), blocked=self.blocked,
        )  # fmt: skip

    def _past(self) -> _Past | None:
        """Return what the days before today come to; they do not change any more."""
        which = self.today, len(self.days), id(self.days)
        if self._known_past is None or self._known_past[0] != which:
            earlier = [day for key, day in sorted(self.days.items()) if key != self.today]
            found = None if not earlier else _Past(
                earlier[-1].balance, max(each.balance for each in earlier),
                max(each.highest_balance for each in earlier), max(each.highest_equity for each in earlier),
            )  # fmt: skip
            self._known_past = which, found
        return self._known_past[1]

    def equity(self) -> Decimal:
        """Return what the account would have if all were closed a tick worse than the last price, after fees."""
        return self._equity(self.balance)

    def _equity(self, balance: Decimal) -> Decimal:
        total = balance
        for contract_id, holding in self.book.holdings.items():
            price = self.prices.get(contract_id)
            for lot in holding.lots:
                sign = 1 if lot.size > 0 else -1
                mark = lot.ticks if price is None else price.ticks - sign
                total += lot.size * (mark - lot.ticks) * holding.contract.tick_value
                total -= abs(lot.size) * self.params.fee
        return total

    def exposure(self, contract_id: str) -> Exposure:
        """Return what there is of a contract: lots, marks, stops and entries."""
        book = self.book
        holding, price = book.holdings[contract_id], self.prices.get(contract_id)
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
            tuple((lot.size, lot.ticks) for lot in holding.lots), None if price is None else price.ticks - 1,
            None if price is None else price.ticks + 1, tuple(stops), tuple(entries),
        )  # fmt: skip

    def situation(self, contract_id: str, wish: Wish | None, *, is_known: bool, must_go: str = "") -> Situation:
        """Return how a contract stands.

        Args:
            contract_id: the contract, which the book knows.
            wish: what is wished of it, if anything.
            is_known: whether what is held is certain, as far as can be told outside the book.
            must_go: why ours has to go, for a reason of its own.
        """
        book, policy = self.book, self.params.foreign
        holding, working = book.holdings[contract_id], book.working(contract_id)
        foreign = 0 if policy == "adopt" else book.foreign_net(contract_id)
        theirs = [each for each in working if role_of(each.custom_tag) is Role.FOREIGN]
        at_market = {each.type is OrderType.MARKET for each in theirs}
        must_all = self.stop_all(contract_id)
        if policy == "flatten" and (foreign or False in at_market):
            must_all = must_all or OTHERS
        is_foreign_ours = bool(must_all) or policy == "adopt"
        lots = [lot for lot in holding.lots if policy == "adopt" or book.is_own(lot.order_id)]
        cost, count = sum(lot.size * lot.ticks for lot in lots), sum(lot.size for lot in lots)
        product = product_of(holding.contract)
        case = Case(
            held=holding.net - foreign, foreign=foreign, direction=None if wish is None else wish.direction,
            standing=Standing.DROPPED if wish is None else wish.standing, must_go=bool(must_all or must_go),
            takes_all=bool(must_all),
            is_known=is_known and True not in at_market and not book.awaits_fills(contract_id),
            entry_ticks=round(cost / count) if count else 0,
            stop_ticks=self.params.stop_of(product) or 0, target_ticks=self.params.target_of(product),
            most=self._most(contract_id, wish),
            working=working if not theirs else [
                each for each in working
                if role_of(each.custom_tag) is not Role.FOREIGN
                or (is_foreign_ours and each.type is not OrderType.MARKET)
            ],
        )  # fmt: skip
        step = next_step(case)
        waits = wish is not None and wish.standing is Standing.WAITING and bool(wish.direction)
        is_held = case.is_known and wish is not None and case.held * wish.direction > 0
        if waits and ((step is None and case.must_go) or is_held):
            step = Enter()  # which risk refuses, with the reason
        return Situation(case, step, must_all or must_go or "the decision")

    def _most(self, contract_id: str, wish: Wish | None) -> int:
        """Return how many contracts were wished at most: as many as the entry had, where there was one."""
        largest = self.params.sizing.largest
        if self.params.foreign == "adopt" or wish is None:
            return max(largest, abs(self.book.net(contract_id)))
        if wish.standing is not Standing.SENT:
            return largest
        entries = [self.book.tagged(tag(wish.decision_id, Role.ENTRY, number)) for number in (0, 1)]
        sizes = [entry.size for entry in entries if entry is not None and entry.status is not OrderStatus.REJECTED]
        return max(sizes, default=largest)

    def weigh(self, contract: Contract, wish: Wish) -> tuple[int, Verdict]:
        """Return how many contracts to enter with for a wish, and what risk says of that."""
        product = product_of(contract)
        stop_ticks = self.params.stop_of(product)
        wanted = 1 if stop_ticks is None else size_of(
            self.params.sizing, contract, stop_ticks, self.own.slippage_ticks, self.params.fee
        )  # fmt: skip
        proposal = Proposal(
            contract.contract_id, product, wish.direction, max(1, wanted), stop_ticks, contract.tick_value,
            self.params.fee, wish.known_at_ns, wish.data_complete,
        )  # fmt: skip
        state, market = self.state(), self.market(contract.contract_id)
        code, words = self._objection(contract.contract_id, wanted)
        if words:
            state = replace(state, blocked=words, blocked_as=code)
        verdict = check_entry(self.pack, self.own, state, market, proposal)
        if verdict.approved:
            return proposal.size, verdict
        most = largest_size(self.pack, self.own, state, market, proposal)
        proposal = replace(proposal, size=most or proposal.size)
        return proposal.size, check_entry(self.pack, self.own, state, market, proposal)

    def may_pass(self, refusal: Check, wish: Wish) -> bool:
        """Whether a refusal may pass by itself while the wish is still fresh enough to be asked for again."""
        is_old = self.now_ns() - wish.known_at_ns > self.own.oldest_decision_s * NS_PER_SECOND
        return refusal.code in _PASSING and not is_old

    def _objection(self, contract_id: str, wanted: int) -> tuple[str, str]:
        """Return why nothing is entered here now, whatever the limits say: a code, and words; empty when it is."""
        reasons = {
            "blocked": self.stop_all(contract_id),
            "foreign_position": "others hold a position in this contract, which is left alone"
            if self.params.foreign == "leave" and self.book.foreign_net(contract_id) else "",
            "already_held": "a position is held already" if self.book.net(contract_id) else "",
            "too_small": "" if wanted else "one contract would risk more than execution.risk_per_trade",
        }  # fmt: skip
        return next(((code, words) for code, words in reasons.items() if words), ("blocked", ""))

    def entry(self, contract: Contract, wish: Wish, size: int, number: int = 0) -> OrderRequest:
        """Return the order that enters for a wish, with its bracket where the account takes brackets."""
        product, sign = product_of(contract), 1 if wish.direction == LONG else -1
        with_bracket = self.params.venue_brackets and not self.brackets_refused
        stop, target = self.params.stop_of(product), self.params.target_of(product)
        return OrderRequest(
            self.book.account_id, contract.contract_id, OrderType.MARKET,
            OrderSide.BUY if sign > 0 else OrderSide.SELL, size,
            custom_tag=tag(wish.decision_id, Role.ENTRY, number),
            stop_loss=Bracket(-sign * stop, OrderType.STOP) if with_bracket and stop else None,
            take_profit=Bracket(sign * target, OrderType.LIMIT) if with_bracket and target else None,
        )  # fmt: skip

    def protection(self, contract_id: str, step: Protect, custom_tag: str) -> OrderRequest:
        """Return the stop or target of a step."""
        price = self.book.holdings[contract_id].grid.price(step.ticks)
        is_stop = step.role is Role.STOP
        return OrderRequest(
            self.book.account_id, contract_id, OrderType.STOP if is_stop else OrderType.LIMIT, step.side, step.size,
            None if is_stop else price, price if is_stop else None, custom_tag=custom_tag,
        )  # fmt: skip

    def alarm(self, contract_id: str) -> Alarm | None:
        """Return the limit that is reached and ends trading for this session; ``contract_id`` tells its market."""
        if not has_floors(self.pack, self.own):
            return None
        alarms = watch(self.pack, self.own, self.state(), self.market(contract_id))
        return next((each for each in alarms if each.block_until_next_session), None)

    def keep_day(self, session: Session | None) -> AccountDay | None:
        """Take note of where the account stands in a session (None: the market rests); return the trading day."""
        if session is not None and session.trade_date != self.today:
            self.today = session.trade_date
            self.entries_ns.clear()
        if self.today is None:
            return None
        balance = self.balance
        equity = self._equity(balance)
        day = self.days.get(self.today)
        if day is None:
            day = self.days[self.today] = AccountDay(self.today, balance, balance, balance, equity, equity)
        elif day.balance != balance or day.equity != equity:
            self.days[self.today] = day = AccountDay(
                day.trade_date, day.start_balance, balance, max(day.highest_balance, balance), equity,
                max(day.highest_equity, equity),
            )  # fmt: skip
        return day
