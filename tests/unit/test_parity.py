"""What became of a decision live and in a backtest, and the cause that a difference is given."""

from __future__ import annotations

import pytest

from escapement.backtest.parity import Cause, Live, LiveDecision, LiveSignal, Taken, by_cause, compare, taken_of
from escapement.backtest.run import Outcome
from pasts import MES, MINUTE, MONDAY, account, bars, decision, history, run

CALM = (5700.0, 5701.0, 5699.0, 5700.0)
SENT = Taken(1, 5700.0, ticks=-20, exit="stop")


@pytest.fixture
def outcome() -> Outcome:
    """One long entry at 5700, stopped at 5695."""
    past = history(bars(CALM, CALM, (5700.0, 5701.0, 5690.0, 5691.0)))
    return run(past, [decision(MONDAY + 5 * MINUTE, 1)], account())


def live(outcome: Outcome, entry: Taken | None) -> Live:
    taken = [
        LiveDecision(each.decision_id, MES, each.known_at_ns, "words", complete=True) for each in outcome.decisions
    ]
    key = outcome.decisions[0].decision_id[:16]
    return Live([], taken, {"0" * 16: SENT} if entry is None else {key: entry})


def causes(outcome: Outcome, recorded: Live) -> list[tuple[str, Cause]]:
    found = compare(recorded, outcome, MONDAY, MONDAY + 60 * MINUTE)
    return [(each.kind, each.cause) for each in found.differences]


def test_what_a_backtest_took_is_told_as_what_was_recorded(outcome: Outcome) -> None:
    assert list(taken_of(outcome).values()) == [SENT]
    assert str(SENT) == "+1 at 5700, stop -20 ticks"


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (SENT, None),
        (Taken(1, 5700.25, ticks=-21, exit="stop"), Cause.FILL),
        (Taken(1, 5700.0), Cause.FILL),
        (Taken(2, 5700.0, ticks=-40, exit="stop"), Cause.REFUSAL),
        (Taken(1, 5700.0, ticks=3, exit="foreign"), Cause.MANUAL),
        (Taken(code="decision_stale", words="the decision is 61.000 s old"), Cause.TIMING),
        (Taken(code="price_stale", words="no price"), Cause.TIMING),
        (Taken(code="data_incomplete", words="incomplete"), Cause.DATA),
        (Taken(code="blocked", words="trading was stopped: lunch"), Cause.MANUAL),
        (Taken(code="foreign_position", words="others hold"), Cause.MANUAL),
        (Taken(code="maximum_loss", words="at worst"), Cause.REFUSAL),
        (Taken(code="rejected", words="Market is closed."), Cause.REFUSAL),
        (None, Cause.TIMING),
    ],
)  # fmt: skip
def test_each_difference_of_an_entry_has_its_cause(outcome: Outcome, entry: Taken | None, cause: Cause | None) -> None:
    assert causes(outcome, live(outcome, entry)) == ([] if cause is None else [("entry", cause)])


def test_decisions_follow_from_data_or_came_at_another_time(outcome: Outcome) -> None:
    at_ns = outcome.decisions[0].known_at_ns
    identity = ("5m", "trend_starts", 1, "{}", "uptrendStart", MONDAY, MONDAY, at_ns, 5700.0, "rule")
    said = LiveSignal(MES, identity, at_ns, "uptrendStart", holds=True, whole=True)
    assert causes(outcome, Live([], [], {})) == [("decision", Cause.TIMING)]
    assert causes(outcome, Live([said], [], {})) == [("decision", Cause.DATA), ("signal", Cause.UNEXPLAINED)]
    superseded = LiveSignal(MES, identity, at_ns, "uptrendStart", holds=False, whole=True)
    assert causes(outcome, Live([superseded], [], {})) == [("decision", Cause.DATA), ("signal", Cause.DATA)]
    cut = LiveSignal(MES, identity, at_ns, "uptrendStart", holds=True, whole=False)
    assert causes(outcome, Live([cut], [], {}))[1] == ("signal", Cause.DATA)
    other = LiveDecision("f" * 32, MES, at_ns, "words", complete=False)
    found = compare(Live([], [other], {}), outcome, MONDAY, MONDAY + 60 * MINUTE).differences
    assert sorted((each.live, each.cause) for each in found) == [("", Cause.TIMING), ("words", Cause.DATA)]
    assert by_cause(found) == {"timing": 1, "data": 1} or by_cause(found) == {"data": 1, "timing": 1}


def test_what_lies_outside_the_stretch_is_not_compared(outcome: Outcome) -> None:
    found = compare(Live([], [], {}), outcome, MONDAY + 20 * MINUTE, MONDAY + 60 * MINUTE)
    assert (found.differences, found.compared) == ([], {"signals": 0, "decisions": 0})
