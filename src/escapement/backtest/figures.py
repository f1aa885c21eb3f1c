"""What a backtest came to in numbers.

Money is account money after fees, ticks are whole ticks over all contracts of a trade, times are nanoseconds UTC.

- CAGR: (last / first equity) ^ (365.25 days / length) - 1.
- Sharpe: mean / sample deviation of daily returns x sqrt(252), without a riskless rate. Source: Sharpe, Journal of
  Portfolio Management 21 (1994).
- Sortino: mean of daily returns / root of the mean square of the negative ones x sqrt(252). Source: Sortino and van der
  Meer, Journal of Portfolio Management 17 (1991).
- Calmar: CAGR / largest drawdown as a share of its peak. Source: Young, Futures 20 (1991); he takes 36 months, here it
  is the whole time.
- Profit factor: what winners made / what losers lost. Expectancy: mean of what a trade made.

Figures of a year need twenty sessions. A day is a session of the exchange; a session without trading counts with a
return of nothing. Equity counts open positions at the close of each bar, without the fees of closing them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from escapement.backtest.run import History, Outcome
from escapement.backtest.shortcut import Reckoned
from escapement.core.execution import Role, RoundTrip, decision_of, role_of
from escapement.model import NS_PER_SECOND, Decision, OrderSide, PriceGrid

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Number = TypeVar("Number", np.int64, np.float64)
_DAYS_A_YEAR = 252
LEAST_SESSIONS = 20  # of fewer, a year says nothing
_YEAR_NS = 365.25 * 86_400 * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Curve:
    """Equity at the end of each bar in which orders fill, and how many contracts were held then, in all."""

    at_ns: Integers
    equity: Floats
    held: Integers

    @property
    def drawdown(self) -> Floats:
        """Return how far equity lies below its highest so far, in money, 0 or negative."""
        return self.equity - np.maximum.accumulate(self.equity)


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """A round trip with what led to it.

    ``rule``, ``timeframe``: of the decision to enter, empty where it is not known. ``exit``: what closed it.
    ``worst_ticks`` and ``best_ticks``: how far the market went against it and for it, per contract, while it was open
    (maximum adverse and favourable excursion; where only bars are known, by the bars it outlived, and its exit).
    """

    trip: RoundTrip
    net: float
    rule: str
    timeframe: str
    exit: str
    worst_ticks: int
    best_ticks: int


@dataclass(frozen=True, slots=True)
class Group:
    """Some trades together."""

    name: str
    trades: int
    winners: int
    net: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The usual statistics; None where there is too little to say, as in the ratio of nothing to nothing."""

    trades: int
    net: float
    fees: float
    gross_profit: float
    gross_loss: float
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    average_winner: float | None
    average_loser: float | None
    largest_winner: float | None
    largest_loser: float | None
    max_drawdown: float
    max_drawdown_share: float | None
    cagr: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    exposure: float
    days: int


def curve(outcome: Outcome | Reckoned) -> Curve:
    """Return how equity went."""
    ends = [_within(each.smallest.ends_ns, outcome) for each in outcome.histories.values()]
    at_ns = ends[0] if len(ends) == 1 else np.unique(np.concatenate([*ends, np.empty(0, np.int64)]))
    equity = np.full(at_ns.size, float(outcome.start_balance))
    held = np.zeros(at_ns.size, np.int64)
    for history in outcome.histories.values():
        fills = _filled(outcome, history)
        if not fills.at_ns.size:
            continue
        tick_value = float(history.contract.tick_value)
        cash = -np.cumsum(fills.ticks * fills.size) * tick_value - np.cumsum(fills.fees)
        # A bar that ends when an order fills at the first price of the next does not hold it yet.
        filled = np.searchsorted(at_ns, fills.at_ns, side="right")
        net = _stepped(np.cumsum(fills.size), filled, at_ns.size)
        bars = history.smallest
        if len(ends) == 1:
            begin = int(np.searchsorted(bars.ends_ns, outcome.from_ns, side="right"))
            last = bars.close[begin : begin + at_ns.size]
        else:
            last = _stepped(bars.close, np.searchsorted(at_ns, bars.ends_ns), at_ns.size)
        equity += _stepped(cash, filled, at_ns.size)
        equity += net * last * tick_value
        held += np.abs(net)
    return Curve(at_ns, equity, held)


class _Fills(NamedTuple):
    """Fills of a contract in order of time; ``size`` is negative for those that sold."""

    at_ns: Integers
    size: Integers
    ticks: Integers
    fees: Floats


def _filled(outcome: Outcome | Reckoned, history: History) -> _Fills:
    if isinstance(outcome, Reckoned):
        trips, each_fee = outcome.trips, float(outcome.fee)
        rows = [
            np.column_stack(pair).ravel()
            for pair in ((trips.opened_ns, trips.closed_ns), (trips.size, -trips.size), (trips.entry, trips.exit))
        ]
        if trips.open is not None:
            rows = [np.append(row, value) for row, value in zip(rows, trips.open, strict=True)]
        return _Fills(rows[0], rows[1], rows[2], np.abs(rows[1]) * each_fee)
    fills = [each for each in outcome.fills if each.contract_id == history.contract.contract_id and not each.voided]
    grid = PriceGrid(history.contract.tick_size)
    return _Fills(
        _column(each.at_ns for each in fills),
        _column(each.size if each.side is OrderSide.BUY else -each.size for each in fills),
        _column(grid.nearest(each.price) for each in fills),
        np.fromiter((float(each.fees) for each in fills), np.float64, len(fills)),
    )


def _within(at_ns: Integers, outcome: Outcome | Reckoned) -> Integers:
    begin, end = np.searchsorted(at_ns, (outcome.from_ns, outcome.to_ns), side="right")
    return at_ns[begin:end]


def _stepped(values: NDArray[Number], places: Integers, size: int) -> NDArray[Number]:
    """Return a column in which each value stands from its place on until the next one's; nothing before the first."""
    within = places.searchsorted(size)
    edges = np.concatenate((np.zeros(1, np.int64), places[:within], np.full(1, size)))
    steps = np.concatenate((np.zeros(1, values.dtype), values[:within]))
    return np.repeat(steps, np.diff(edges))


def closed_trades(outcome: Outcome) -> list[ClosedTrade]:
    """Return each round trip with what led to it, in the order in which they closed."""
    decisions = {each.decision_id[:16]: each for each in outcome.decisions}
    tags = {each.order_id: each.custom_tag for each in outcome.orders}
    excursions = {contract_id: _Excursions(history) for contract_id, history in outcome.histories.items()}
    found = []
    for trip in outcome.trips:
        decision = decisions.get(decision_of(tags.get(trip.entry_order_id)) or "")
        role = role_of(tags.get(trip.exit_order_id))
        worst, best = excursions[trip.contract_id].of(trip)
        found.append(
            ClosedTrade(
                trip, float(trip.money - trip.fees), "" if decision is None else decision.rule, _timeframe_of(decision),
                "close" if role in {Role.FOREIGN, Role.CLOSE, Role.ENTRY} else str(role), worst, best,
            )
        )  # fmt: skip
    return found


def figures(outcome: Outcome, trades: Sequence[ClosedTrade], course: Curve) -> Figures:
    """Return the usual statistics."""
    fees = sum((each.fees for each in outcome.fills if not each.voided), Decimal(0))
    return statistics(outcome, [each.net for each in trades], fees, course)


def statistics(outcome: Outcome | Reckoned, nets: Sequence[float], fees: Decimal, course: Curve) -> Figures:
    """Return the usual statistics of trades by what each made, in the order in which they closed, and of all fees."""
    won, lost = [each for each in nets if each > 0], [each for each in nets if each < 0]
    returns = _returns(outcome, course)
    peak = np.maximum.accumulate(np.append(float(outcome.start_balance), course.equity))
    below = np.append(float(outcome.start_balance), course.equity) - peak
    deepest = float(below.min())
    share = float((below / peak).min()) if bool((peak > 0).all()) else None
    is_long = returns.size >= LEAST_SESSIONS
    cagr = _cagr(outcome, course) if is_long else None
    deviation = float(np.std(returns, ddof=1)) if is_long else 0.0
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2))) if is_long else 0.0
    mean = float(np.mean(returns)) if is_long else 0.0
    return Figures(
        trades=len(nets), net=float(outcome.balance - outcome.start_balance),
        fees=float(fees), gross_profit=sum(won), gross_loss=-sum(lost), win_rate=_share(len(won), len(nets)),
        profit_factor=_share(sum(won), -sum(lost)), expectancy=_share(sum(nets), len(nets)),
        average_winner=_share(sum(won), len(won)), average_loser=_share(sum(lost), len(lost)),
        largest_winner=max(won, default=None), largest_loser=min(lost, default=None), max_drawdown=deepest,
        max_drawdown_share=share, cagr=cagr, sharpe=_share(mean * math.sqrt(_DAYS_A_YEAR), deviation),
        sortino=_share(mean * math.sqrt(_DAYS_A_YEAR), downside),
        calmar=None if cagr is None or share is None else _share(cagr, -share),
        exposure=float(np.mean(course.held > 0)) if course.held.size else 0.0, days=int(returns.size),
    )  # fmt: skip


def shuffled_drawdowns(trades: Sequence[ClosedTrade], times: int, seed: int) -> tuple[float, float] | None:
    """Return the median of the largest drawdown, and what it is no deeper than in 95 of 100 orders of the trades.

    Only closed trades count, in money, 0 or negative. None without trades. The same seed gives the same.
    """
    if not trades:
        return None
    nets, chance = np.array([each.net for each in trades]), np.random.default_rng(seed)
    deepest = np.empty(times)
    for index in range(times):
        course = np.concatenate(([0.0], np.cumsum(chance.permutation(nets))))
        deepest[index] = (course - np.maximum.accumulate(course)).min()
    return float(np.median(deepest)), float(np.quantile(deepest, 0.05))


def grouped(trades: Sequence[ClosedTrade], name_of: Callable[[ClosedTrade], str]) -> list[Group]:
    """Return trades by some name of theirs, in the order of the names."""
    groups: dict[str, list[float]] = defaultdict(list)
    for each in trades:
        groups[name_of(each)].append(each.net)
    return [Group(name, len(nets), sum(net > 0 for net in nets), sum(nets)) for name, nets in sorted(groups.items())]


def daily(outcome: Outcome | Reckoned, course: Curve) -> list[tuple[date, float]]:
    """Return equity at the end of each session."""
    calendar = next(iter(outcome.histories.values())).calendar
    found = []
    for session in calendar.sessions_between(outcome.from_ns, outcome.to_ns):
        place = int(np.searchsorted(course.at_ns, session.close_ns, side="right")) - 1
        if place >= 0:
            found.append((session.trade_date, float(course.equity[place])))
    return found


def _returns(outcome: Outcome | Reckoned, course: Curve) -> Floats:
    ends = np.array([float(outcome.start_balance), *(equity for _, equity in daily(outcome, course))])
    if ends.size < 2 or bool((ends <= 0).any()):
        return np.empty(0)
    returns: Floats = ends[1:] / ends[:-1] - 1.0
    return returns


def _cagr(outcome: Outcome | Reckoned, course: Curve) -> float | None:
    if not course.equity.size or course.equity[-1] <= 0 or outcome.start_balance <= 0:
        return None
    growth = float(course.equity[-1]) / float(outcome.start_balance)
    exponent = _YEAR_NS / (outcome.to_ns - outcome.from_ns)
    try:
        return float(growth**exponent) - 1.0
    except OverflowError:
        return None


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _timeframe_of(decision: Decision | None) -> str:
    timeframes = [] if decision is None else [each.timeframe for each in decision.because]
    return str(min(timeframes)) if timeframes else ""


class _Excursions:
    """How far prices went within a stretch of time."""

    def __init__(self, history: History) -> None:
        if history.trades is not None:
            grid = PriceGrid(history.contract.tick_size)
            self._ends = _column(each.at_ns for each in history.trades)
            self._low = self._high = _column(grid.nearest(each.price) for each in history.trades)
        else:
            bars = history.smallest
            self._ends, self._low, self._high = bars.ends_ns, bars.low, bars.high

    def of(self, trip: RoundTrip) -> tuple[int, int]:
        """Return the most ticks against a trade and for it, 0 or more, per contract."""
        begin = int(np.searchsorted(self._ends, trip.opened_ns, side="right"))
        # Of the bar in which it ended nothing is known but that it came to the exit's price.
        end = int(np.searchsorted(self._ends, trip.closed_ns, side="right"))
        low = min(trip.entry_ticks, trip.exit_ticks, *self._low[begin:end].tolist())
        high = max(trip.entry_ticks, trip.exit_ticks, *self._high[begin:end].tolist())
        down, up = trip.entry_ticks - low, high - trip.entry_ticks
        return (down, up) if trip.size > 0 else (up, down)


def _column(values: Iterable[int]) -> Integers:
    return np.fromiter(values, np.int64)
