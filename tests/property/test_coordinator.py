"""Coordination of any signals by any rules: what has to hold whatever comes, in whatever order, however often."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from escapement.calendars import calendar_for_contract
from escapement.core.coordination import Coordinator, EntryRule, Gate, Remark, Rules, View, Voice, figure
from escapement.core.coordination.rules import (
    Conflict,
    Confluence,
    Cooldown,
    OncePer,
    OppositeSignal,
    PassThrough,
    StrategicTactical,
    Weighted,
)
from escapement.model import NS_PER_SECOND, Action, Decision, HeardSignal, Signal, Timeframe
from escapement.moments import ns_from_iso

MES = "CON.F.US.MES.M25"
CALENDAR = calendar_for_contract(MES)
FRAMES = tuple(Timeframe.parse(text) for text in ("5m", "15m", "1h"))
BEGIN = ns_from_iso("2025-03-17T13:30:00Z")
STEP = 300 * NS_PER_SECOND
FEW = settings(max_examples=150, deadline=None)

timeframes = st.lists(st.sampled_from(FRAMES), min_size=1, max_size=3, unique=True).map(tuple)
some_timeframes = st.one_of(st.just(()), timeframes)
within = st.one_of(st.none(), st.integers(1, 6).map(lambda n: n * STEP))


@st.composite
def confluences(draw: st.DrawFn) -> Confluence:
    chosen = draw(timeframes)
    return Confluence(chosen, draw(st.integers(1, len(chosen))), draw(within))


@st.composite
def weighteds(draw: st.DrawFn) -> Weighted:
    weights = {each: draw(st.sampled_from([0.5, 1.0, 2.0])) for each in draw(timeframes)}
    return Weighted(weights, draw(st.sampled_from([0.5, 1.0, 2.0])), {"a": 1.5}, draw(within))


entries = st.lists(
    st.one_of(
        st.builds(PassThrough, some_timeframes), confluences(), weighteds(),
        st.builds(StrategicTactical, st.just(FRAMES[1:]), st.just(FRAMES[:1]), st.integers(1, 2), within),
    ),
    min_size=1, max_size=3,
).map(tuple)  # fmt: skip
gates: st.SearchStrategy[tuple[Gate, ...]] = st.lists(
    st.one_of(
        st.builds(Cooldown, st.integers(1, 5).map(lambda n: n * STEP)),
        st.builds(OncePer, st.sampled_from(["session", "direction", "session_direction"])),
    ),
    max_size=2,
).map(tuple)  # fmt: skip
conflicts = st.builds(
    Conflict, st.sampled_from(["ignore", "higher_timeframe", "stand_aside", "reduce"]), some_timeframes,
    within_ns=within,
)  # fmt: skip
rulebooks = st.builds(
    Rules, st.just("main"), entries, conflicts, gates,
    st.one_of(st.just(()), st.builds(OppositeSignal, some_timeframes).map(lambda rule: (rule,))), st.booleans(),
)  # fmt: skip


@st.composite
def signals(draw: st.DrawFn) -> HeardSignal:
    at = draw(st.integers(1, 12))
    timeframe = draw(st.sampled_from(FRAMES))
    kind = draw(st.sampled_from(["up", "down", "other"]))
    known_ns = BEGIN + at * STEP
    start_ns = known_ns - draw(st.integers(1, 3)) * STEP
    signal = Signal(
        draw(st.sampled_from(["a", "b"])), MES, timeframe, kind, start_ns, known_ns - STEP, known_ns,
        5_600 + draw(st.integers(0, 3)) / 4, "R",
    )  # fmt: skip
    return HeardSignal(signal, 1, "{}", 5_600.25, {"up": 1, "down": -1, "other": 0}[kind])


streams = st.lists(signals(), max_size=25, unique_by=lambda each: each.identity)


def coordinator(rules: Rules) -> Coordinator:
    return Coordinator(MES, rules, CALENDAR)


def decisions(remarks: Sequence[Remark]) -> list[Decision]:
    found = {each.decision.decision_id: each.decision for each in remarks if each.decision is not None}
    return list(found.values())


def decided(rules: Rules, stream: Sequence[HeardSignal]) -> tuple[list[Decision], dict[str, Any]]:
    """Read in one go."""
    machine = coordinator(rules)
    for each in stream:
        machine.push(each)
    return decisions(machine.advance(BEGIN + 20 * STEP)), machine.snapshot()


def moments(stream: Sequence[HeardSignal]) -> list[list[HeardSignal]]:
    found: dict[int, list[HeardSignal]] = {}
    for each in stream:
        found.setdefault(each.signal.known_at_ns, []).append(each)
    return [found[at_ns] for at_ns in sorted(found)]


@FEW
@given(rulebooks, streams, st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(rules: Rules, stream: list[HeardSignal], chance: Any) -> None:
    shuffled = list(stream)
    chance.shuffle(shuffled)
    assert decided(rules, shuffled) == decided(rules, stream)
    machine = coordinator(rules)
    remarks: list[Remark] = []
    for moment in moments(shuffled):
        for each in moment:
            machine.push(each)
        remarks += machine.advance(moment[0].signal.known_at_ns)
    assert decisions(remarks) == decided(rules, stream)[0]


@FEW
@given(rulebooks, streams, st.data())
def test_a_repeat_changes_nothing(rules: Rules, stream: list[HeardSignal], data: st.DataObject) -> None:
    machine = coordinator(rules)
    remarks: list[Remark] = []
    seen: list[HeardSignal] = []
    for moment in moments(stream):
        for each in moment:
            machine.push(each)
            seen.append(each)
            for again in data.draw(st.lists(st.sampled_from(seen), max_size=2)):
                machine.push(again)
        remarks += machine.advance(moment[0].signal.known_at_ns)
    for each in stream:
        machine.push(each)
    remarks += machine.advance(BEGIN + 20 * STEP)
    assert (decisions(remarks), machine.snapshot()) == decided(rules, stream)


@FEW
@given(rulebooks, streams, st.data())
def test_saving_and_loading_at_any_point_changes_nothing(
    rules: Rules, stream: list[HeardSignal], data: st.DataObject
) -> None:
    machine = coordinator(rules)
    remarks: list[Remark] = []

    def reloaded() -> Coordinator:
        if not data.draw(st.booleans()):
            return machine
        fresh = coordinator(rules)
        fresh.restore(json.loads(json.dumps(machine.snapshot())))
        return fresh

    for moment in moments(stream):
        for each in moment:
            machine.push(each)
            machine = reloaded()
        remarks += machine.advance(moment[0].signal.known_at_ns)
        machine = reloaded()
    remarks += machine.advance(BEGIN + 20 * STEP)
    assert (decisions(remarks), machine.snapshot()) == decided(rules, stream)


@FEW
@given(rulebooks, streams, st.lists(st.integers(0, 14 * STEP), max_size=12))
def test_in_which_steps_time_passes_does_not_matter(rules: Rules, stream: list[HeardSignal], steps: list[int]) -> None:
    machine = coordinator(rules)
    for each in stream:
        machine.push(each)
    remarks: list[Remark] = []
    for step_ns in steps:  # back as well, which changes nothing
        remarks += machine.advance(BEGIN + step_ns)
    remarks += machine.advance(BEGIN + 20 * STEP)
    whole = coordinator(rules)
    for each in stream:
        whole.push(each)
    assert remarks == whole.advance(BEGIN + 20 * STEP)
    assert machine.snapshot() == whole.snapshot()


@FEW
@given(rulebooks, streams)
def test_what_is_told_of_a_signal_holds_the_numbers_that_are_kept(rules: Rules, stream: list[HeardSignal]) -> None:
    machine = coordinator(rules)
    for each in stream:
        machine.push(each)
    counted = {
        "confluence": ("agreeing", "need", "of", "within"), "strategic_tactical": ("permitting", "need", "of"),
        "conflict": ("against", "voices", "within"), "cooldown": ("since", "need"), "weighted": ("score", "threshold"),
        "once_per": ("earlier",), "rivals": ("mine", "theirs"), "decision": ("position",),
    }  # fmt: skip
    for remark in machine.advance(BEGIN + 20 * STEP):
        for verdict in remark.verdicts:
            said = re.findall(r"[-\w.:]*\w", verdict.words)
            kept = [verdict.values[name] for name in counted.get(verdict.rule.partition(" ")[0], ())]
            kept += [vote["strength"] for vote in verdict.values.get("strengths", ())]
            for value in kept:
                if value is not None:
                    text = value if isinstance(value, str) else figure(value)
                    assert text in said, (verdict.words, verdict.values)
        if remark.decision is not None:
            assert f"with confidence {figure(remark.decision.confidence)}," in remark.decision.words
            assert f"at {remark.decision.price} " in remark.decision.words


@FEW
@given(rulebooks, streams)
def test_the_position_is_what_the_last_decision_says(rules: Rules, stream: list[HeardSignal]) -> None:
    machine = coordinator(rules)
    position = 0
    for moment in moments(stream):
        for each in moment:
            machine.push(each)
        for found in decisions(machine.advance(moment[0].signal.known_at_ns)):
            position = found.direction
        assert machine.position == position


@FEW
@given(rulebooks, streams, st.integers(0, 14))
def test_what_comes_later_changes_no_earlier_decision(rules: Rules, stream: list[HeardSignal], until: int) -> None:
    to_ns = BEGIN + until * STEP
    whole = [each for each in decided(rules, stream)[0] if each.known_at_ns <= to_ns]
    assert decided(rules, [each for each in stream if each.signal.known_at_ns <= to_ns])[0] == whole


@FEW
@given(rulebooks, streams)
def test_each_decision_follows_from_the_one_before_and_is_the_only_one_of_its_moment(
    rules: Rules, stream: list[HeardSignal]
) -> None:
    position, last_ns = 0, 0
    found = decided(rules, stream)[0]
    for each in found:
        assert each.known_at_ns > last_ns
        assert 0 <= each.confidence <= 1
        assert each.because
        assert all(heard.signal.known_at_ns <= each.known_at_ns for heard in each.because)
        assert any(heard.signal.known_at_ns == each.known_at_ns for heard in each.because)
        match each.action:
            case Action.HOLD:
                assert each.direction == position != 0
            case Action.EXIT:
                assert position != 0
                assert each.direction == 0
            case Action.REVERSE:
                assert each.direction == -position != 0
                assert rules.reverses
            case Action.ENTER_LONG | Action.ENTER_SHORT:
                assert position == 0
                assert each.direction == (1 if each.action is Action.ENTER_LONG else -1)
        position, last_ns = each.direction, each.known_at_ns
    assert len({each.decision_id for each in found}) == len(found)


@FEW
@given(rulebooks, streams)
def test_of_every_signal_every_rule_says_something_once(rules: Rules, stream: list[HeardSignal]) -> None:
    machine = coordinator(rules)
    for each in stream:
        assert machine.push(each) == ()
    remarks = machine.advance(BEGIN + 20 * STEP)
    assert sorted(each.heard.identity for each in remarks) == sorted(each.identity for each in stream)
    for remark in remarks:
        said = [verdict.rule for verdict in remark.verdicts]
        assert len(said) == len(set(said))
        if said != ["direction"]:
            assert said[: len(rules.entries)] == [_name(rules, place) for place in range(len(rules.entries))]
            assert "conflict" in said
            assert said[-1] == "decision"
        for verdict in remark.verdicts:
            assert verdict.words
            json.dumps(verdict.values, allow_nan=False)


def _name(rules: Rules, place: int) -> str:
    name = rules.entries[place].name
    earlier = sum(each.name == name for each in rules.entries[:place])
    return f"{name} {earlier + 1}" if earlier else name


@FEW
@given(rulebooks, streams)
def test_what_is_told_of_a_signal_does_not_depend_on_when_it_is_read(rules: Rules, stream: list[HeardSignal]) -> None:
    at_once: list[tuple[HeardSignal, str]] = []
    afterwards: list[Remark] = []
    machine = coordinator(rules)
    for moment in moments(stream):
        for each in moment:
            machine.push(each)
        at_once += [(each.heard, repr(each.verdicts)) for each in machine.advance(moment[0].signal.known_at_ns)]
    machine = coordinator(rules)
    for moment in moments(stream):
        for each in moment:
            machine.push(each)
        afterwards += machine.advance(moment[0].signal.known_at_ns)
    assert [(each.heard, repr(each.verdicts)) for each in afterwards] == at_once


@FEW
@given(rulebooks, streams, signals())
def test_a_late_signal_decides_nothing(rules: Rules, stream: list[HeardSignal], late: HeardSignal) -> None:
    machine = coordinator(rules)
    for each in stream:
        machine.push(each)
    machine.advance(BEGIN + 20 * STEP)
    before = machine.snapshot()
    remarks = machine.push(late)
    assert [(each.decision, [verdict.rule for verdict in each.verdicts]) for each in remarks] == [(None, ["late"])]
    after = machine.snapshot()
    assert machine.advance(BEGIN + 21 * STEP) == []
    assert {**before, "voices": None} == {**after, "voices": None}


voices = st.lists(
    signals().filter(lambda each: each.direction != 0).map(lambda each: Voice(each, each.direction)),
    max_size=6, unique_by=lambda voice: (voice.timeframe, voice.analyzer),
)  # fmt: skip
views = st.builds(View, st.just(BEGIN + 12 * STEP), voices.map(tuple))


@FEW
@given(entries, views, st.sampled_from([1, -1]))
def test_nothing_is_wished_unless_a_voice_in_scope_speaks_now(
    rules: tuple[EntryRule, ...], view: View, direction: int
) -> None:
    for rule in rules:
        if rule.propose(view, direction).stands:
            assert any(rule.scope.holds(voice) and voice.since_ns == view.at_ns for voice in view.voices)


@FEW
@given(weighteds(), views, st.sampled_from([1, -1]))
def test_a_vote_is_what_its_definition_says(rule: Weighted, view: View, direction: int) -> None:
    score = total = 0.0
    fresh = False
    for voice in view.voices:
        if voice.timeframe not in rule.timeframe_weights:
            continue
        strength = rule.timeframe_weights[voice.timeframe] * rule.analyzer_weights.get(voice.analyzer, 1.0)
        if rule.half_life_ns is not None:
            strength *= 0.5 ** ((view.at_ns - voice.since_ns) / rule.half_life_ns)
        total += strength
        score += strength if voice.direction == direction else -strength
        fresh |= voice.since_ns == view.at_ns and voice.direction == direction
    verdict = rule.propose(view, direction)
    assert abs(verdict.values["score"] - score) < 1e-4
    if abs(score - rule.threshold) > 1e-9:
        assert verdict.stands == (score >= rule.threshold and fresh)
    assert abs(verdict.confidence - max(0.0, score / total if total else 0.0)) < 1e-9


@FEW
@given(confluences(), views, st.sampled_from([1, -1]))
def test_confluence_is_what_its_definition_says(rule: Confluence, view: View, direction: int) -> None:
    agreeing, fresh = 0, False
    for timeframe in rule.timeframes:
        young = [
            voice
            for voice in view.voices
            if voice.timeframe == timeframe
            and (rule.within_ns is None or view.at_ns - voice.since_ns <= rule.within_ns)
        ]
        newest = [voice for voice in young if voice.since_ns == max(each.since_ns for each in young)]
        if newest and all(voice.direction == direction for voice in newest):
            agreeing += 1
            fresh |= newest[0].since_ns == view.at_ns
    verdict = rule.propose(view, direction)
    assert verdict.stands == (agreeing >= rule.need and fresh)
    assert verdict.confidence == agreeing / len(rule.timeframes)


@FEW
@given(streams, st.randoms(use_true_random=False))
def test_what_is_left_of_a_voice_is_what_was_said_without_what_was_taken_back(
    stream: list[HeardSignal], chance: Any
) -> None:
    rules = Rules("main", (PassThrough(),))
    machine = coordinator(rules)
    for each in stream:
        machine.push(each)
    machine.advance(BEGIN + 20 * STEP)
    for voice in machine.voices:
        key = str(voice.timeframe), voice.analyzer, 1, "{}"
        mine = [each for each in stream if (str(each.timeframe), each.signal.analyzer) == key[:2] and each.direction]
        left = [each for each in mine if each.signal.known_at_ns < voice.since_ns]
        chance.shuffle(left)
        machine.retract(key, left)
        fresh = coordinator(rules)
        for each in left:
            fresh.push(each)
        fresh.advance(BEGIN + 20 * STEP)
        again = [each for each in machine.voices if (str(each.timeframe), each.analyzer) == key[:2]]
        assert again == list(fresh.voices)
    assert not list(coordinator(replace(rules, reverses=False)).voices)
