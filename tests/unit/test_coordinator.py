"""One contract's coordinator, moment by moment."""

from __future__ import annotations

import pytest

from escapement.calendars import calendar_for_contract
from escapement.core.coordination import Coordinator, Remark, Rules
from escapement.core.coordination.rules import Conflict, Confluence, Cooldown, OncePer, OppositeSignal, PassThrough
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Action, Decision, HeardSignal, Signal, Timeframe
from escapement.moments import ns_from_iso

MES = "CON.F.US.MES.M25"
M5, M15, H1 = (Timeframe.parse(text) for text in ("5m", "15m", "1h"))
MINUTE = 60 * NS_PER_SECOND
BEGIN = ns_from_iso("2025-03-17T15:00:00Z")
PASS = Rules("main", (PassThrough(),))


def said(
    minute: int, direction: int, timeframe: Timeframe = M5, analyzer: str = "trend_starts", *, bar: int = 1,
    kind: str = "",
) -> HeardSignal:  # fmt: skip
    known_ns = BEGIN + minute * MINUTE
    name = kind or {1: "uptrendStart", -1: "downtrendStart", 0: "unknown"}[direction]
    signal = Signal(analyzer, MES, timeframe, name, known_ns - bar * MINUTE, known_ns - MINUTE, known_ns, 5_600, "R")
    return HeardSignal(signal, 1, "{}", 5_700 + minute / 4, direction, minute)


def remarks(rules: Rules, *signals: HeardSignal) -> list[Remark]:
    machine = Coordinator(MES, rules, calendar_for_contract(MES))
    for each in signals:
        machine.push(each)
    return list(machine.advance(BEGIN + 600 * MINUTE))


def decisions(rules: Rules, *signals: HeardSignal) -> list[Decision]:
    found = {each.decision.decision_id: each.decision for each in remarks(rules, *signals) if each.decision is not None}
    return list(found.values())


def actions(rules: Rules, *signals: HeardSignal) -> list[str]:
    return [str(each.action) for each in decisions(rules, *signals)]


def test_it_enters_holds_reverses_and_exits() -> None:
    rules = Rules("main", (PassThrough((M5,)),), exits=(OppositeSignal((M15,)),))
    found = decisions(rules, said(5, 1), said(10, 1), said(15, -1), said(20, 1, M15), said(25, -1))
    assert [(each.action, each.direction, each.price) for each in found] == [
        (Action.ENTER_LONG, 1, 5_701.25), (Action.HOLD, 1, 5_702.5), (Action.REVERSE, -1, 5_703.75),
        (Action.EXIT, 0, 5_705.0), (Action.ENTER_SHORT, -1, 5_706.25),
    ]  # fmt: skip
    assert found[2].words == (
        "reverse from long to short at 5703.75 with confidence 1, because of downtrendStart of trend_starts on 5m, by "
        "pass_through"
    )
    assert found[3].rule == "opposite_signal"


def test_without_reversing_a_wish_against_the_position_ends_it() -> None:
    rules = Rules("main", (PassThrough(),), reverses=False)
    assert actions(rules, said(5, 1), said(10, -1), said(15, -1)) == ["enter_long", "exit", "enter_short"]


def test_who_names_an_exit_wants_out_even_when_something_else_says_to_hold() -> None:
    rules = Rules("main", (PassThrough((H1,)),), exits=(OppositeSignal((M5,)),))
    assert actions(rules, said(60, 1, H1), said(120, 1, H1), said(120, -1, M5)) == ["enter_long", "exit"]


def test_gates_keep_it_from_entering_and_reversing_but_neither_from_holding_nor_from_exits() -> None:
    rules = Rules("main", (PassThrough((M5,)),), gates=(Cooldown(30 * MINUTE),), exits=(OppositeSignal((H1,)),))
    assert actions(rules, said(5, 1), said(10, -1), said(20, 1), said(34, -1), said(35, -1)) == [
        "enter_long", "hold", "reverse",
    ]  # fmt: skip
    assert actions(rules, said(5, 1), said(10, -1, H1), said(20, 1), said(41, 1)) == [
        "enter_long",
        "exit",
        "enter_long",
    ]


def test_the_signal_that_may_not_reverse_still_ends_the_position() -> None:
    rules = Rules("main", (PassThrough(),), gates=(Cooldown(30 * MINUTE),), exits=(OppositeSignal(),))
    found = decisions(rules, said(5, 1), said(10, -1), said(45, -1), said(80, 1))
    assert [(str(each.action), each.rule) for each in found] == [
        ("enter_long", "pass_through"), ("exit", "opposite_signal"), ("enter_short", "pass_through"),
        ("reverse", "pass_through"),
    ]  # fmt: skip
    last = remarks(rules, said(5, 1), said(10, -1))[-1]
    assert [(each.rule, each.stands) for each in last.verdicts] == [
        ("pass_through", True), ("conflict", True), ("cooldown", False), ("opposite_signal", True), ("decision", True),
    ]  # fmt: skip
    assert last.verdicts[-1].words == "exit long; the position was long"
    assert last.verdicts[-1].values["action"] == "exit"


def test_one_entry_a_session_counts_reversals_and_begins_anew_with_the_next_session() -> None:
    session = Rules("main", (PassThrough(),), gates=(OncePer("session"),))
    assert actions(session, said(5, 1), said(10, -1), said(421, -1), said(430, 1)) == ["enter_long", "reverse"]
    # The session ends at 21:00 UTC, and a bar that ends with it belongs to it; the next one begins at 22:00.
    assert actions(session, said(5, 1), said(360, -1)) == ["enter_long"]
    assert actions(session, said(5, 1), said(360, -1), said(421, -1)) == ["enter_long", "reverse"]
    either = Rules("main", (PassThrough(),), gates=(OncePer("session_direction"),))
    assert actions(either, said(5, 1), said(10, -1), said(15, 1)) == ["enter_long", "reverse"]


def test_a_gate_is_not_asked_about_a_position_that_is_there() -> None:
    rules = Rules("main", (PassThrough(),), gates=(OncePer("direction"),))
    found = remarks(rules, said(5, 1), said(10, 1))
    assert ["once_per" in [verdict.rule for verdict in each.verdicts] for each in found] == [True, False]


def test_signals_of_one_moment_are_one_decision_at_the_price_of_the_smallest_timeframe() -> None:
    found = remarks(PASS, said(60, 1, H1), said(60, 1, M15), said(60, 1, M5))
    assert len({each.decision.decision_id for each in found if each.decision is not None}) == 1
    assert [each.decision is not None for each in found] == [True, True, True]
    only = remarks(Rules("main", (PassThrough((H1,)),)), said(60, 1, H1), said(60, 1, M5))
    assert {str(each.heard.timeframe): each.decision is not None for each in only} == {"1h": True, "5m": False}


def test_of_opposite_wishes_at_one_moment_the_larger_timeframe_stands_and_equals_cancel_each_other() -> None:
    assert actions(PASS, said(60, 1, M5), said(60, -1, H1)) == ["enter_short"]
    assert actions(PASS, said(60, 1, M5), said(60, -1, M5, "donchian_breakout")) == []
    aside = Rules("main", (PassThrough(),), Conflict("stand_aside"))
    assert actions(aside, said(60, 1, M5), said(60, -1, H1)) == []
    rivals = [each.verdicts for each in remarks(PASS, said(60, 1, M5), said(60, -1, H1))]
    words = {verdict.words for verdicts in rivals for verdict in verdicts if verdict.rule == "rivals"}
    assert words == {
        "short is wished at the same moment, on 1h; this wish is on 5m",
        "long is wished at the same moment, on 5m; this wish is on 1h",
    }


def test_what_a_voice_says_of_the_later_bar_counts_and_contradictions_of_one_bar_cancel() -> None:
    assert actions(PASS, said(5, 1, bar=3), said(5, -1, bar=2)) == ["enter_short"]
    assert actions(PASS, said(5, 1, bar=3, kind="a"), said(5, -1, bar=3, kind="b")) == []


def test_the_first_entry_rule_that_wishes_speaks_and_what_is_left_of_confidence_is_told() -> None:
    rules = Rules("main", (Confluence((H1, M15), 1), PassThrough()), Conflict("reduce"))
    (both,) = decisions(rules, said(60, 1, H1), said(60, 1, M5))
    assert (both.rule, both.confidence) == ("confluence", 0.5)
    assert [each.timeframe for each in both.because] == [H1]
    first, second = decisions(rules, said(60, 1, H1), said(65, -1, M5))
    assert (first.rule, second.rule, second.confidence) == ("confluence", "pass_through", 0.5)


def test_rules_of_one_kind_are_told_apart() -> None:
    rules = Rules("main", (PassThrough((H1,)), PassThrough()), gates=(Cooldown(MINUTE), Cooldown(MINUTE)))
    (remark,) = remarks(rules, said(5, 1))
    assert [(each.rule, each.stands) for each in remark.verdicts] == [
        ("pass_through", False), ("pass_through 2", True), ("conflict", True), ("cooldown", True), ("cooldown 2", True),
        ("decision", True),
    ]  # fmt: skip
    assert remark.decision is not None
    assert remark.decision.rule == "pass_through 2"


def test_of_a_signal_that_leads_to_nothing_every_refusal_is_noted() -> None:
    rules = Rules("main", (Confluence((H1, M15), 2),), Conflict("stand_aside"), (Cooldown(MINUTE),))
    (remark,) = remarks(rules, said(60, 1, H1))
    assert remark.decision is None
    assert [(each.rule, each.stands) for each in remark.verdicts] == [
        ("confluence", False), ("conflict", True), ("cooldown", True), ("decision", False),
    ]  # fmt: skip
    assert remark.verdicts[-1].words == "no decision; the position stays flat"
    (other,) = remarks(rules, said(60, 0, H1))
    assert [(each.rule, each.stands) for each in other.verdicts] == [("direction", False)]
    assert other.verdicts[0].words.startswith("unknown: its type says no direction")


def test_a_decision_is_the_same_whenever_its_inputs_are() -> None:
    (one,) = decisions(PASS, said(5, 1))
    assert decisions(PASS, said(5, 1)) == [one]
    others = [
        decisions(Rules("other", (PassThrough(),)), said(5, 1)), decisions(PASS, said(6, 1)),
        decisions(PASS, said(5, -1)), decisions(PASS, said(5, 1, M15)), decisions(PASS, said(5, 1, bar=2)),
    ]  # fmt: skip
    assert len({each[0].decision_id for each in others} | {one.decision_id}) == 6
    assert len(one.decision_id) == 32


def test_a_late_signal_counts_from_then_on() -> None:
    rules = Rules("main", (Confluence((H1, M15), 2),))
    machine = Coordinator(MES, rules, calendar_for_contract(MES))
    machine.push(said(75, 1, M15))
    machine.advance(BEGIN + 75 * MINUTE)
    (late,) = machine.push(said(60, 1, H1))
    assert (late.decision, late.verdicts[0].rule) == (None, "late")
    machine.push(said(90, 1, M15))
    (remark,) = machine.advance(BEGIN + 90 * MINUTE)
    assert remark.decision is not None
    assert remark.decision.action is Action.ENTER_LONG


def test_what_is_taken_back_no_longer_counts_and_what_does_not_run_any_more_neither() -> None:
    rules = Rules("main", (Confluence((H1, M15), 2),))
    for taken_back in (True, False):
        machine = Coordinator(MES, rules, calendar_for_contract(MES))
        machine.push(said(60, 1, H1))
        machine.advance(BEGIN + 60 * MINUTE)
        if taken_back:
            machine.retract(("1h", "trend_starts", 1, "{}"), [])
        else:
            machine.keep_only([("15m", "trend_starts", 1, "{}")])
        machine.push(said(75, 1, M15))
        assert [each.decision for each in machine.advance(BEGIN + 75 * MINUTE)] == [None]


def test_what_is_not_its_own_is_refused() -> None:
    machine = Coordinator("CON.F.US.MNQ.M25", PASS, calendar_for_contract("CON.F.US.MNQ.M25"))
    with pytest.raises(InvalidInput, match=r"MES\.M25 was given to CON\.F\.US\.MNQ\.M25"):
        machine.push(said(5, 1))
    state = Coordinator(MES, PASS, calendar_for_contract(MES)).snapshot()
    with pytest.raises(InvalidInput, match=r"of version 1 and CON\.F\.US\.MES\.M25"):
        machine.restore(state)
    mine = machine.snapshot()
    broken: list[tuple[str, object]]
    broken = [("version", 2), ("voices", [{}]), ("entries", [[1]]), ("pending", None), ("at_ns", "x")]
    for name, value in broken:
        with pytest.raises(InvalidInput):
            machine.restore({**mine, name: value})
    assert machine.snapshot() == mine
    with pytest.raises(InvalidInput, match="entries is empty"):
        Rules("main", ())
