"""One backtest: history in, everything that came of it out. No clock, no chance, no input or output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from escapement.backtest.analysis import Reader, decided, heard, in_order
from escapement.backtest.engine import USER, Engine, Refusal, Rejection
from escapement.backtest.market import BarMarket, BarsOfMarket, Market, TradeMarket
from escapement.core.aggregation.columns import BarColumns
from escapement.core.coordination import Rules
from escapement.core.dealing import Dealer, DealParams
from escapement.core.execution import AccountBook, AccountDay, RoundTrip
from escapement.core.risk import OwnLimits, Pack
from escapement.errors import InvalidInput
from escapement.model import (
    Bar,
    Contract,
    Decision,
    Fill,
    HeardSignal,
    Order,
    PriceGrid,
    Session,
    SessionCalendar,
    Timeframe,
    Trade,
)
from escapement.moments import iso_from_ns
from escapement.simulator.accounts import AccountSpec
from escapement.simulator.fills import FillModel
from escapement.simulator.venue import Listing, Venue

_ACCOUNT_ID = 1


@dataclass(frozen=True)
class History:
    """What is known of one contract's past.

    ``bars``: completed bars by timeframe, oldest first. ``trades``: in order of time; None where only bars are known,
    and then orders fill in those of the smallest timeframe.
    """

    contract: Contract
    calendar: SessionCalendar
    bars: Mapping[Timeframe, Sequence[Bar]]
    trades: Sequence[Trade] | None = None

    @cached_property
    def smallest(self) -> BarsOfMarket:
        """The bars of the smallest timeframe, as a market tells them; made once for all who trade them."""
        return BarsOfMarket.of(self.columns(min(self.bars)), PriceGrid(self.contract.tick_size), self.calendar)

    def columns(self, timeframe: Timeframe) -> BarColumns:
        """Return the bars of a timeframe as columns."""
        return BarColumns.of(timeframe, self.bars[timeframe])


@dataclass(frozen=True, slots=True)
class Account:
    """The account that is traded, and how: see ``Dealer`` for the fields; ``latency_ns`` is that of its calls."""

    start_balance: Decimal
    deal: DealParams
    pack: Pack | None
    own: OwnLimits
    deadlines_of: Callable[[Session], tuple[int | None, int | None]]
    fills: FillModel = field(default_factory=FillModel)
    latency_ns: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that came of a backtest, each in order of time.

    ``refusals`` are risk's, ``rejections`` the venue's. ``alarms``: when a loss limit ended trading for the session,
    and in which words. ``histories``: what it ran over, by contract.
    """

    from_ns: int
    to_ns: int
    start_balance: Decimal
    balance: Decimal
    equity: Decimal
    signals: tuple[HeardSignal, ...]
    decisions: tuple[Decision, ...]
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    trips: tuple[RoundTrip, ...]
    refusals: tuple[Refusal, ...]
    rejections: tuple[Rejection, ...]
    alarms: tuple[tuple[int, str], ...]
    days: tuple[AccountDay, ...]
    histories: Mapping[str, History]


def backtest(
    histories: Sequence[History],
    readers: Sequence[Reader],
    rules: Rules,
    directions: Mapping[str, int],
    account: Account,
    from_ns: int,
    to_ns: int,
) -> Outcome:
    """Trade ``[from_ns, to_ns)`` (UTC) of some contracts' past.

    Args:
        histories: of each contract; what lies before ``from_ns`` warms up the analyzers.
        readers: the analyzers.
        rules: of the coordinator.
        directions: what each type of signal says.
        account: that is traded.
        from_ns: signals that became known after it count.
        to_ns: where it ends; what is held then stays open.

    Raises:
        InvalidInput: there is nothing between the two.
        AnalyzerFault: an analyzer failed.
    """
    _check_extent(histories, from_ns, to_ns)
    by_id = {each.contract.contract_id: each for each in histories}
    signals: list[HeardSignal] = []
    for reader in readers:
        bars = by_id[reader.key.contract_id].bars[reader.key.timeframe]
        past = (bar for bar in bars if bar.end_ns <= to_ns)
        signals += heard(reader, past, directions, from_ns)
    decisions = weigh(histories, rules, signals)
    heard_signals = tuple(sorted(signals, key=_known_at))
    return trade(histories, decisions, account, from_ns, to_ns, signals=heard_signals)


def weigh(histories: Sequence[History], rules: Rules, signals: Sequence[HeardSignal]) -> list[Decision]:
    """Return what the coordinator decides of signals, in the order in which it does."""
    by_contract: dict[str, list[HeardSignal]] = {each.contract.contract_id: [] for each in histories}
    for each in signals:
        by_contract[each.signal.contract_id].append(each)
    return in_order(
        decided(history.contract.contract_id, rules, history.calendar, by_contract[history.contract.contract_id])
        for history in histories
    )


def trade(
    histories: Sequence[History],
    decisions: Sequence[Decision],
    account: Account,
    from_ns: int,
    to_ns: int,
    *,
    signals: tuple[HeardSignal, ...] = (),
) -> Outcome:
    """Trade decisions, in the order in which they were taken, over ``[from_ns, to_ns)`` of some contracts' past.

    Raises:
        InvalidInput: there is no history between the two.
    """
    _check_extent(histories, from_ns, to_ns)
    by_id = {each.contract.contract_id: each for each in histories}
    engine = _engine(by_id, account, from_ns, to_ns)
    engine.run(decisions, to_ns)
    book = engine.dealer.book
    trips = [trip for holding in book.holdings.values() for trip in holding.trips]
    fills = [fill for holding in book.holdings.values() for fill in holding.fills]
    return Outcome(
        from_ns, to_ns, account.start_balance, engine.dealer.balance, engine.dealer.equity(), signals,
        tuple(decisions), tuple(book.orders()), tuple(sorted(fills, key=lambda each: (each.at_ns, each.fill_id))),
        tuple(sorted(trips, key=lambda each: (each.closed_ns, each.opened_ns))), tuple(engine.refusals),
        tuple(engine.rejections), tuple(engine.alarms),
        tuple(each for _, each in sorted(engine.dealer.days.items())), by_id,
    )  # fmt: skip


def _check_extent(histories: Sequence[History], from_ns: int, to_ns: int) -> None:
    if not any(_begins_in(each, from_ns, to_ns) for each in histories):
        raise InvalidInput(
            f"there is no history after {iso_from_ns(from_ns)} and before {iso_from_ns(to_ns)}; choose another stretch"
        )


def _engine(by_id: Mapping[str, History], account: Account, from_ns: int, to_ns: int) -> Engine:
    listings = {contract_id: Listing(each.contract, each.calendar) for contract_id, each in by_id.items()}
    spec = AccountSpec(_ACCOUNT_ID, USER, USER, account.start_balance, commission=Decimal(0), fees=account.deal.fee)
    dealer = Dealer(
        AccountBook(_ACCOUNT_ID), account.deal, account.pack, account.own, account.start_balance, lambda: from_ns,
        lambda contract_id: by_id[contract_id].calendar, account.deadlines_of,
    )  # fmt: skip
    has_trades = all(each.trades is not None for each in by_id.values())
    return Engine(
        dealer, Venue(listings, [spec], from_ns, account.fills, tells=False),
        {contract_id: _market(each, account.fills, from_ns) for contract_id, each in by_id.items()},
        clock_moments(list(by_id.values()), account, from_ns, to_ns), account.latency_ns if has_trades else 0,
    )  # fmt: skip


def clock_moments(histories: Sequence[History], account: Account, from_ns: int, to_ns: int) -> list[int]:
    """Return when sessions open, close or reach a deadline, in order, the beginning first."""
    sessions = {session for each in histories for session in each.calendar.sessions_between(from_ns, to_ns)}
    moments = {
        at_ns
        for session in sessions
        for at_ns in (session.open_ns, session.close_ns, *account.deadlines_of(session))
        if at_ns is not None and from_ns <= at_ns < to_ns
    }
    return sorted({from_ns, *moments})


def _market(history: History, model: FillModel, from_ns: int) -> Market:
    grid, contract_id = PriceGrid(history.contract.tick_size), history.contract.contract_id
    if history.trades is not None:
        return TradeMarket(contract_id, [each for each in history.trades if each.at_ns >= from_ns], grid,
                           model.spread_ticks)  # fmt: skip
    return BarMarket(contract_id, history.smallest, grid, from_ns)


def _begins_in(history: History, from_ns: int, to_ns: int) -> bool:
    if history.trades is not None:
        return any(from_ns <= each.at_ns < to_ns for each in history.trades)
    ends_ns = history.columns(min(history.bars)).end_ns
    return bool(((ends_ns > from_ns) & (ends_ns <= to_ns)).any())


def _known_at(each: HeardSignal) -> tuple[int, str, object]:
    return each.signal.known_at_ns, each.signal.contract_id, each.timeframe
