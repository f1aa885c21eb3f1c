"""The figures of a backtest, on pasts whose figures can be reckoned by hand."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal
from itertools import pairwise

import pytest

from escapement.backtest.figures import closed_trades, curve, daily, figures, grouped, shuffled_drawdowns
from escapement.backtest.run import Outcome
from escapement.calendars import calendar_for_contract
from escapement.model import Bar
from pasts import MES, MINUTE, MONDAY, Row, account, bars, decision, history, run

CALM = (5700.0, 5701.0, 5699.0, 5700.0)
# Long from 5700, out at the target of 5705; short from 5706, out at the stop of 5711; long again, and it stays.
ROWS: list[Row] = [
    CALM, (5700.0, 5702.0, 5697.0, 5701.0), (5701.0, 5706.0, 5700.0, 5706.0), (5706.0, 5708.0, 5704.0, 5707.0),
    (5707.0, 5712.0, 5703.0, 5712.0), (5712.0, 5713.0, 5711.0, 5712.0), (5712.0, 5716.0, 5710.0, 5714.0),
]  # fmt: skip


@pytest.fixture
def outcome() -> Outcome:
    chosen = [decision(MONDAY + minutes * MINUTE, way) for minutes, way in ((5, 1), (15, -1), (25, 1))]
    return run(history(bars(*ROWS)), chosen, account(target=20, fee="0.5"))


def test_trades_their_excursions_and_their_sums(outcome: Outcome) -> None:
    trades = closed_trades(outcome)
    assert [(each.trip.ticks, each.net, each.exit) for each in trades] == [(20, 24.0, "target"), (-20, -26.0, "stop")]
    # Until the bar that ended it, the first saw 5697 and 5702, and its exit; the second 5704 and 5708.
    assert [(each.worst_ticks, each.best_ticks) for each in trades] == [(12, 20), (20, 8)]
    found = figures(outcome, trades, curve(outcome))
    assert (found.trades, found.gross_profit, found.gross_loss) == (2, 24.0, 26.0)
    assert (found.win_rate, found.profit_factor, found.expectancy) == (0.5, 24 / 26, -1.0)
    assert (found.average_winner, found.average_loser, found.largest_loser) == (24.0, -26.0, -26.0)
    assert found.net == pytest.approx(-2.5)  # and half a fee for what is open
    assert found.fees == 2.5
    assert [(each.name, each.trades, each.net) for each in grouped(trades, lambda each: each.exit)] == [
        ("stop", 1, -26.0), ("target", 1, 24.0),
    ]  # fmt: skip


def test_equity_counts_what_is_open_at_each_close(outcome: Outcome) -> None:
    course = curve(outcome)
    expected = [0, 4.5, 24, 18.5, -2, -2.5, 7.5]
    assert (course.equity - 50_000).tolist() == pytest.approx(expected)
    assert course.held.tolist() == [0, 1, 0, 1, 0, 1, 1]
    assert course.drawdown.min() == pytest.approx(-26.5)
    assert figures(outcome, closed_trades(outcome), course).exposure == pytest.approx(4 / 7)


def test_figures_of_a_year_follow_their_formulas_and_need_twenty_sessions() -> None:
    calendar = calendar_for_contract(MES)
    sessions = calendar.sessions_between(MONDAY, MONDAY + 40 * 1_440 * MINUTE)[:25]
    made: list[Bar] = []
    for number, session in enumerate(sessions):
        price = 5700.0 + 10 * number + 6 * (-1) ** number
        made += bars((price, price + 1, price - 1, price), begin_ns=session.close_ns - 5 * MINUTE)
    bought = [decision(made[0].end_ns - 1, 1)]
    found = run(history(made), bought, account(stop=15_000))
    assert found.fills
    course, days = curve(found), daily(found, curve(found))
    assert len(days) == 25
    ends = [50_000.0, *(equity for _, equity in days)]
    returns = [later / earlier - 1 for earlier, later in pairwise(ends)]
    told = figures(found, [], course)
    below = math.sqrt(statistics.fmean(min(each, 0.0) ** 2 for each in returns))
    assert told.sharpe == pytest.approx(statistics.fmean(returns) / statistics.stdev(returns) * math.sqrt(252))
    assert told.sortino == pytest.approx(statistics.fmean(returns) / below * math.sqrt(252))
    years = (found.to_ns - found.from_ns) / (365.25 * 86_400e9)
    assert told.cagr == pytest.approx((ends[-1] / 50_000) ** (1 / years) - 1)
    deepest = min(here / max(ends[: place + 1]) - 1 for place, here in enumerate(ends))
    assert told.max_drawdown_share == pytest.approx(deepest)
    assert told.calmar == pytest.approx((told.cagr or 0) / -deepest)
    short = run(history(made[:19]), bought, account(stop=15_000))
    few = figures(short, [], curve(short))
    assert (few.days, few.cagr, few.sharpe, few.sortino, few.calmar) == (19, None, None, None, None)


def test_other_orders_of_the_same_trades_are_as_deep_as_chance_has_it(outcome: Outcome) -> None:
    trades = closed_trades(outcome)
    # Of two trades one wins 24 and one loses 26: either order falls by 26 from its highest.
    assert shuffled_drawdowns(trades, 50, 1) == pytest.approx((-26.0, -26.0))
    assert shuffled_drawdowns([], 50, 1) is None
    assert shuffled_drawdowns([trades[1]] * 3, 50, 1) == pytest.approx((-78.0, -78.0))
    assert outcome.balance == Decimal(50_000) - Decimal("2.5")
