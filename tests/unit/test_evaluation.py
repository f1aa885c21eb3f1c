"""Accounts under a firm's rules, on sessions simple enough to foresee what comes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escapement import firms
from escapement.backtest.evaluation import Chances, End, EvaluationParams, Played, chances, most_times
from escapement.core.risk import OwnLimits, Pack, Trailing
from escapement.errors import InvalidInput

TODAY = date(2026, 11, 24)
COMBINE, EXPRESS = firms.pack("topstep_combine_50k", TODAY), firms.pack("topstep_express_50k", TODAY)
NONE = OwnLimits()


def trade(net: float, *, risk: float = 50.0, worst: float | None = None, best: float = 0.0, **other: float) -> Played:
    return Played(net, min(net, 0.0) if worst is None else worst, best, risk, int(other.get("contracts", 1)),
                  other.get("lots", 0.1))  # fmt: skip


def tried(
    *sessions: Sequence[Played], pack: Pack = COMBINE, own: OwnLimits = NONE, times: int = 1, **params: int
) -> Chances:
    chosen = EvaluationParams(**{"trials": 20, "block": len(sessions), "longest": 100, **params})
    return chances(sessions, pack, own, chosen, times, Random(1))


def only(found: Chances) -> tuple[End, float | None]:
    (end,) = found.ends
    return end, found.days


def test_a_target_is_reached_when_no_day_made_too_much_of_it() -> None:
    assert only(tried([trade(1_000)])) == (End.PASSED, 3)
    assert only(tried([trade(3_000)])) == (End.PASSED, 2)  # one day alone is the whole profit
    assert only(tried([trade(3_000)], pack=replace(COMBINE, best_day_share=None))) == (End.PASSED, 1)
    assert only(tried([trade(2_999.99)], longest=1)) == (End.TIME, None)
    assert only(tried([trade(500)], times=2)) == (End.PASSED, 3)


def test_a_gap_beyond_the_floor_loses_the_account_and_a_stop_never_does() -> None:
    assert only(tried([trade(-2_500)])) == (End.MAXIMUM_LOSS, None)
    assert only(tried([trade(0, worst=-2_000)])) == (End.MAXIMUM_LOSS, None)
    assert only(tried([trade(0, worst=-1_999.99)], longest=3)) == (End.TIME, None)
    # After three losses of 500 another one would end at the floor, so there is no fourth, however long it is waited.
    assert only(tried([trade(-500, risk=500)])) == (End.NO_ROOM, None)


def test_the_floor_follows_the_end_of_days_and_stops_where_it_locks() -> None:
    # After 1,000 the floor lies at 49,000, which 2,500 reach; where it is fixed they do not.
    sessions = [trade(1_000)], [trade(0, worst=-2_500)]
    assert tried(*sessions, longest=2).ends == {End.MAXIMUM_LOSS: 20}
    fixed = tried(*sessions, longest=2, pack=replace(COMBINE, trailing=Trailing.FIXED)).ends
    assert fixed.keys() == {End.MAXIMUM_LOSS, End.TIME}  # by the session drawn first
    endless = replace(COMBINE, profit_target=Decimal(1_000_000))
    grows = [trade(3_000), trade(-100, worst=-2_900)]
    assert only(tried(grows, pack=endless, longest=9)) == (End.TIME, None)
    assert only(tried([trade(3_000)], [trade(0, worst=-2_900)], pack=replace(endless, locks_at=None), longest=9)) == (
        End.MAXIMUM_LOSS, None,
    )  # fmt: skip


def test_a_floor_that_follows_open_profit_rises_while_a_trade_runs() -> None:
    session = [trade(100, best=1_500, worst=-600)]
    assert only(tried(session, longest=1)) == (End.TIME, None)
    follows = replace(COMBINE, trailing=Trailing.OPEN)
    assert only(tried(session, pack=follows, longest=1)) == (End.MAXIMUM_LOSS, None)


def test_a_daily_loss_ends_the_day_and_not_the_account() -> None:
    sessions = [trade(-250, risk=100), trade(-250, risk=100), trade(2_000, best=2_000)]
    assert only(tried(sessions, longest=2)) == (End.PASSED, 2)
    limited = OwnLimits(daily_loss=Decimal(300))
    assert only(tried(sessions, own=limited, longest=2)) == (End.TIME, None)


def test_size_is_cut_to_the_firms_lots_and_to_the_room_there_is() -> None:
    large = [trade(10, risk=10, lots=1.0)]
    assert tried(large, times=5, longest=59).ends == {End.TIME: 20}
    assert only(tried(large, times=5)) == (End.PASSED, 60)  # 5 lots: 50 a day
    assert only(tried(large, times=50)) == (End.PASSED, 60)
    # 2,000 of room allow three contracts that risk 600, so that all lose 1,800 and nothing can be traded any more.
    assert only(tried([trade(-600, risk=600)], times=10)) == (End.NO_ROOM, None)
    assert most_times([[trade(1, lots=1.0, contracts=2)]], COMBINE) == 2
    assert most_times([[trade(1)]], COMBINE) == 50


def test_a_payout_takes_winning_days() -> None:
    assert only(tried([trade(150)], pack=EXPRESS)) == (End.PAID, 5)
    assert only(tried([trade(149.99)], pack=EXPRESS)) == (End.TIME, None)
    assert only(tried([trade(300)], [trade(-100)], pack=EXPRESS, trials=1))[0] is End.PAID


def test_what_cannot_be_evaluated_is_refused() -> None:
    with pytest.raises(InvalidInput, match="has no trades"):
        tried([], [])
    with pytest.raises(InvalidInput, match="neither profit_target nor payout_days"):
        tried([trade(1)], pack=firms.pack("generic_50k", TODAY))
    with pytest.raises(InvalidInput, match="block 0 is not positive"):
        EvaluationParams(block=0)


played = st.builds(
    trade, st.floats(-400, 400), risk=st.floats(1, 400), best=st.floats(0, 500), lots=st.sampled_from([0.1, 1.0])
)


@given(st.lists(st.lists(played, max_size=4), min_size=1, max_size=8), st.integers(1, 5), st.integers(1, 4))
def test_all_tries_end_one_way_and_the_same_chance_gives_the_same(
    sessions: list[list[Played]], block: int, times: int
) -> None:
    if not any(sessions):
        return
    params = EvaluationParams(trials=15, block=block, longest=40)
    found = chances(sessions, COMBINE, NONE, params, times, Random(3))
    assert sum(found.ends.values()) == 15
    assert sum(found.share(end) for end in End) == pytest.approx(1)
    assert found.days is None or 1 <= found.days <= 40
    assert chances(sessions, COMBINE, NONE, params, times, Random(3)) == found


@given(st.lists(st.lists(played, min_size=1, max_size=4), min_size=1, max_size=8), st.integers(1, 40))
def test_no_account_is_lost_while_no_trade_loses_more_than_it_risked(sessions: list[list[Played]], times: int) -> None:
    safe = [
        [replace(each, net=max(each.net, -each.risk), worst=max(each.worst, -each.risk)) for each in some]
        for some in sessions
    ]
    found = chances(safe, COMBINE, NONE, EvaluationParams(trials=15, block=2, longest=40), times, Random(5))
    assert found.share(End.MAXIMUM_LOSS) == 0
