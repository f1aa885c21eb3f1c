"""The decision table of each rule of coordination, a row a line."""

from __future__ import annotations

import re
from datetime import date, time
from zoneinfo import ZoneInfo

import pytest

from escapement.core.coordination import Entry, EntryRule, Gate, Verdict, View, Voice
from escapement.core.coordination.rules import (
    Conflict,
    ConflictWay,
    Confluence,
    Cooldown,
    OncePer,
    OppositeSignal,
    PassThrough,
    StrategicTactical,
    TradingWindow,
    Weighted,
)
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, HeardSignal, Signal, Timeframe
from escapement.moments import ns_from_iso

M5, M15, H1, H4 = (Timeframe.parse(text) for text in ("5m", "15m", "1h", "4h"))
MINUTE = 60 * NS_PER_SECOND
NOW = ns_from_iso("2025-03-17T15:00:00Z")
LONG, SHORT = 1, -1


def voice(timeframe: Timeframe, direction: int, minutes_ago: float = 0, analyzer: str = "trend_starts") -> Voice:
    known_ns = NOW - int(minutes_ago * MINUTE)
    kind = {LONG: "uptrendStart", SHORT: "downtrendStart", 0: "uptrendStart"}[direction]
    signal = Signal(analyzer, "MES", timeframe, kind, known_ns - MINUTE, known_ns - MINUTE, known_ns, 5_700, "R")
    return Voice(HeardSignal(signal, 1, "{}", 5_700.25, direction), direction)


def view(*voices: Voice, **more: object) -> View:
    return View(NOW, voices, **more)  # type: ignore[arg-type] # a test names what it needs


def numbers(verdict: Verdict) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", verdict.words))


@pytest.mark.parametrize(
    ("rule", "voices", "direction", "stands"),
    [
        (PassThrough(), [voice(M5, LONG)], LONG, True),
        (PassThrough(), [voice(M5, LONG)], SHORT, False),
        (PassThrough(), [voice(M5, LONG, 5)], LONG, False),
        (PassThrough(), [voice(M5, 0)], LONG, False),
        (PassThrough((H1,)), [voice(M5, LONG)], LONG, False),
        (PassThrough((H1,)), [voice(M5, SHORT), voice(H1, LONG)], LONG, True),
        (PassThrough((), ("donchian_breakout",)), [voice(M5, LONG)], LONG, False),
        (PassThrough((), ("trend_starts",)), [voice(M5, LONG)], LONG, True),
        # Confluence: both, one of two, none fresh, too old, exactly old enough, contradiction.
        (Confluence((H1, M15), 2), [voice(H1, LONG, 45), voice(M15, LONG)], LONG, True),
        (Confluence((H1, M15), 2), [voice(H1, SHORT, 45), voice(M15, LONG)], LONG, False),
        (Confluence((H1, M15), 2), [voice(M15, LONG)], LONG, False),
        (Confluence((H1, M15), 1), [voice(M15, LONG)], LONG, True),
        (Confluence((H1, M15), 2), [voice(H1, LONG, 45), voice(M15, LONG, 15)], LONG, False),
        (Confluence((H1, M15), 2, 60 * MINUTE), [voice(H1, LONG, 60), voice(M15, LONG)], LONG, True),
        (Confluence((H1, M15), 2, 60 * MINUTE - 1), [voice(H1, LONG, 60), voice(M15, LONG)], LONG, False),
        (Confluence((H1,), 1), [voice(H1, LONG), voice(H1, SHORT, 0, "donchian_breakout")], LONG, False),
        (Confluence((H1,), 1), [voice(H1, LONG), voice(H1, SHORT, 9, "donchian_breakout")], LONG, True),
        (
            Confluence((H1,), 1, None, ("trend_starts",)),
            [voice(H1, LONG), voice(H1, SHORT, 0, "donchian_breakout")], LONG, True,
        ),
        # Weighted: threshold met exactly, missed, opposed, decayed to a half, nothing fresh, without weight.
        (Weighted({H1: 2, M5: 1}, 3), [voice(H1, LONG, 60), voice(M5, LONG)], LONG, True),
        (Weighted({H1: 2, M5: 1}, 3.01), [voice(H1, LONG, 60), voice(M5, LONG)], LONG, False),
        (Weighted({H1: 2, M5: 1}, 1), [voice(H1, SHORT, 60), voice(M5, LONG)], LONG, False),
        (Weighted({H1: 2, M5: 1}, 1), [voice(H1, SHORT), voice(M5, LONG)], SHORT, True),
        (Weighted({H1: 2, M5: 1}, 2, half_life_ns=60 * MINUTE), [voice(H1, LONG, 60), voice(M5, LONG)], LONG, True),
        (Weighted({H1: 2, M5: 1}, 2.1, half_life_ns=60 * MINUTE), [voice(H1, LONG, 60), voice(M5, LONG)], LONG, False),
        (Weighted({H1: 2}, 1), [voice(H1, LONG, 1)], LONG, False),
        (Weighted({H1: 2}, 1), [voice(H1, LONG, 1), voice(M5, LONG)], LONG, False),
        (Weighted({M5: 1}, 2, {"trend_starts": 2}), [voice(M5, LONG)], LONG, True),
        (Weighted({M5: 1}, 2, {"donchian_breakout": 2}), [voice(M5, LONG)], LONG, False),
        # Two half-lives leave a quarter: 4 / 4 + 1 = 2; a voice of weight that spoke, and not for the direction.
        (Weighted({H1: 4, M5: 1}, 2, half_life_ns=30 * MINUTE), [voice(H1, LONG, 60), voice(M5, LONG)], LONG, True),
        (Weighted({H1: 4, M5: 1}, 2.1, half_life_ns=30 * MINUTE), [voice(H1, LONG, 60), voice(M5, LONG)], LONG, False),
        (Weighted({H1: 4, M5: 1}, 1), [voice(H1, LONG, 1), voice(M5, SHORT)], LONG, False),
        (Weighted({H1: 2, M5: 1}, 1), [voice(H1, 0), voice(M5, LONG)], LONG, True),
        # Strategic and tactical: permitted and timed, not permitted, not timed, contradicted, enough of two, too old.
        (StrategicTactical((H1,), (M5,), 1), [voice(H1, LONG, 45), voice(M5, LONG)], LONG, True),
        (StrategicTactical((H1,), (M5,), 1), [voice(H1, SHORT, 45), voice(M5, LONG)], LONG, False),
        (StrategicTactical((H1,), (M5,), 1), [voice(H1, LONG), voice(M5, LONG, 5)], LONG, False),
        (StrategicTactical((H1,), (M5,), 1), [voice(M5, LONG)], LONG, False),
        (StrategicTactical((H4, H1), (M5,), 2), [voice(H1, LONG, 45), voice(M5, LONG)], LONG, False),
        (StrategicTactical((H4, H1), (M5,), 1), [voice(H1, LONG, 45), voice(M5, LONG)], LONG, True),
        (StrategicTactical((H1,), (M5,), 1, 44 * MINUTE), [voice(H1, LONG, 45), voice(M5, LONG)], LONG, False),
        (StrategicTactical((H1,), (M5,), 1, 45 * MINUTE), [voice(H1, LONG, 45), voice(M5, LONG)], LONG, True),
    ],
)  # fmt: skip
def test_when_an_entry_is_wished(rule: EntryRule, voices: list[Voice], direction: int, *, stands: bool) -> None:
    verdict = rule.propose(view(*voices), direction)
    assert verdict.stands == stands, verdict.words
    assert verdict.rule == rule.name
    assert ("long" if direction == LONG else "short") in verdict.words
    if stands:
        assert verdict.because
        assert {each.direction for each in verdict.because} == {direction}


@pytest.mark.parametrize(
    ("way", "voices", "stands", "confidence"),
    [
        ("ignore", [voice(M5, LONG), voice(H1, SHORT, 30)], True, 1.0),
        ("stand_aside", [voice(M5, LONG), voice(H1, LONG, 30)], True, 1.0),
        ("stand_aside", [voice(M5, LONG), voice(H1, SHORT, 30)], False, 1.0),
        ("stand_aside", [voice(M5, LONG), voice(H1, SHORT, 61)], True, 1.0),
        ("higher_timeframe", [voice(M5, LONG), voice(H1, SHORT, 30)], False, 1.0),
        ("higher_timeframe", [voice(H1, LONG), voice(M5, SHORT, 30)], True, 1.0),
        (
            "higher_timeframe",
            [voice(M15, LONG), voice(M5, SHORT), voice(H1, LONG), voice(H1, SHORT, 0, "b")],
            True,
            1.0,
        ),
        ("higher_timeframe", [voice(M5, LONG), voice(H1, SHORT, 61)], True, 1.0),
        ("higher_timeframe", [voice(M5, LONG), voice(M5, SHORT, 0, "b")], False, 1.0),  # nothing leads
        ("higher_timeframe", [voice(M5, LONG), voice(M5, SHORT, 5, "b")], True, 1.0),
        ("ignore", [voice(M5, LONG), voice(H1, 0)], True, 1.0),
        ("stand_aside", [voice(M5, LONG), voice(H1, SHORT, 60)], False, 1.0),
        ("reduce", [voice(M5, LONG), voice(H1, SHORT, 61)], True, 1.0),
        ("reduce", [voice(M5, LONG), voice(M15, LONG, 5), voice(H1, SHORT, 30), voice(H4, LONG, 40)], True, 0.75),
        ("reduce", [voice(M5, LONG)], True, 1.0),
        ("reduce", [voice(H1, SHORT)], False, 0.0),
    ],
)
def test_what_opposing_voices_do_to_a_wish(
    way: ConflictWay, voices: list[Voice], confidence: float, *, stands: bool
) -> None:
    verdict = Conflict(way, within_ns=60 * MINUTE).judge(view(*voices), LONG)
    assert (verdict.stands, verdict.confidence) == (stands, confidence), verdict.words
    assert {str(verdict.values["against"]), str(verdict.values["voices"])} <= numbers(verdict)


ENTERED = Entry(NOW - 60 * MINUTE, date(2025, 3, 17))
BEFORE = Entry(NOW - 90 * MINUTE, date(2025, 3, 17))
FRIDAY = Entry(NOW - 70 * 60 * MINUTE, date(2025, 3, 14))
CHICAGO, DAY, NIGHT = ZoneInfo("America/Chicago"), (time(8, 30), time(15)), (time(17), time(2, 30))


@pytest.mark.parametrize(
    ("gate", "more", "stands"),
    [
        (Cooldown(30 * MINUTE), {}, True),
        (Cooldown(30 * MINUTE), {"decided_ns": NOW - 29 * MINUTE}, False),
        (Cooldown(30 * MINUTE), {"decided_ns": NOW - 30 * MINUTE + 1}, False),
        (Cooldown(30 * MINUTE), {"decided_ns": NOW - 30 * MINUTE}, True),
        (Cooldown(30 * MINUTE), {"decided_ns": NOW - 31 * MINUTE}, True),
        (OncePer("session"), {"entries": {LONG: FRIDAY, SHORT: ENTERED}}, False),
        (OncePer("session_direction"), {"entries": {LONG: FRIDAY, SHORT: ENTERED}}, True),
        (OncePer("direction"), {"entries": {SHORT: ENTERED}}, True),
        (OncePer("session"), {}, True),
        (OncePer("session"), {"entries": {SHORT: ENTERED}}, False),
        (OncePer("session"), {"entries": {SHORT: FRIDAY}}, True),
        (OncePer("session_direction"), {"entries": {SHORT: ENTERED}}, True),
        (OncePer("session_direction"), {"entries": {LONG: ENTERED}}, False),
        (OncePer("session_direction"), {"entries": {LONG: FRIDAY}}, True),
        (OncePer("direction"), {"entries": {LONG: FRIDAY}}, False),
        (OncePer("direction"), {"entries": {LONG: FRIDAY, SHORT: ENTERED}}, True),
        (OncePer("direction"), {"entries": {LONG: ENTERED, SHORT: BEFORE}}, False),
    ],
)
def test_when_a_gate_lets_a_wish_pass(gate: Gate, more: dict[str, object], *, stands: bool) -> None:
    verdict = gate.judge(view(trade_date=date(2025, 3, 17), **more), LONG)
    assert verdict.stands == stands, verdict.words
    assert verdict.rule == gate.name


@pytest.mark.parametrize(
    ("moment", "hours", "days", "stands"),
    [
        ("2025-03-17T13:30:00Z", DAY, range(7), True),  # 08:30 in Chicago, daylight saving time
        ("2025-03-17T13:29:59Z", DAY, range(7), False),
        ("2025-03-17T19:59:59Z", DAY, range(7), True),
        ("2025-03-17T20:00:00Z", DAY, range(7), False),
        ("2025-01-13T13:30:00Z", DAY, range(7), False),  # 07:30 in Chicago, standard time
        ("2025-01-13T14:30:00Z", DAY, range(7), True),
        ("2025-03-17T14:00:00Z", DAY, [1, 2], False),  # a Monday
        ("2025-03-18T14:00:00Z", DAY, [1, 2], True),
        ("2025-03-17T22:00:00Z", NIGHT, [0], True),  # from Monday 17:00
        ("2025-03-18T07:29:00Z", NIGHT, [0], True),  # Tuesday 02:29 belongs to Monday's window
        ("2025-03-18T07:30:00Z", NIGHT, [0], False),
        ("2025-03-18T23:00:00Z", NIGHT, [0], False),
        ("2025-03-17T06:00:00Z", NIGHT, [0], False),  # Monday 01:00 belongs to Sunday's window
        ("2025-03-17T06:00:00Z", NIGHT, [6], True),
        ("2025-03-09T08:29:59Z", NIGHT, range(7), False),  # 03:29, the clock went from 02:00 to 03:00
        ("2025-03-09T07:59:59Z", NIGHT, range(7), True),  # 01:59
        ("2025-11-02T06:30:00Z", NIGHT, range(7), True),  # 01:30, for the first time
        ("2025-11-02T07:30:00Z", NIGHT, range(7), True),  # 01:30 again
        ("2025-11-02T08:30:00Z", NIGHT, range(7), False),  # 02:30
        ("2025-03-17T05:00:00Z", (time(0), time(0)), [0], True),  # the whole of a day
        ("2025-03-18T04:59:59Z", (time(0), time(0)), [0], True),
        ("2025-03-18T05:00:00Z", (time(0), time(0)), [0], False),
    ],
)
def test_when_the_trading_window_is_open(
    moment: str, hours: tuple[time, time], days: list[int], *, stands: bool
) -> None:
    rule = TradingWindow(*hours, CHICAGO, tuple(days))
    verdict = rule.judge(View(ns_from_iso(moment), ()), LONG)
    assert verdict.stands == stands, verdict.words
    assert verdict.values["local"] in verdict.words


@pytest.mark.parametrize(
    ("position", "said", "rule", "stands"),
    [
        (LONG, voice(M5, SHORT), OppositeSignal(), True),
        (SHORT, voice(M5, LONG), OppositeSignal(), True),
        (SHORT, voice(M5, SHORT), OppositeSignal(), False),
        (SHORT, voice(H1, LONG), OppositeSignal((H1,), ("trend_starts",)), True),
        (LONG, voice(M5, LONG), OppositeSignal(), False),
        (0, voice(M5, SHORT), OppositeSignal(), False),
        (LONG, voice(M5, SHORT, 5), OppositeSignal(), False),
        (LONG, voice(M5, SHORT), OppositeSignal((H1,)), False),
        (LONG, voice(H1, SHORT), OppositeSignal((H1,)), True),
        (LONG, voice(H1, SHORT), OppositeSignal((), ("donchian_breakout",)), False),
    ],
)
def test_when_an_opposite_signal_ends_a_position(
    position: int, said: Voice, rule: OppositeSignal, *, stands: bool
) -> None:
    verdict = rule.propose(view(said, position=position), said.direction)
    assert verdict.stands == stands, verdict.words


def test_a_vote_is_told_with_every_number_it_was_made_of() -> None:
    rule = Weighted({H1: 2, M5: 1}, 1.5, {"trend_starts": 1.5}, half_life_ns=60 * MINUTE)
    verdict = rule.propose(view(voice(H1, LONG, 60), voice(M5, LONG), voice(M5, SHORT, 120, "donchian_breakout")), LONG)
    # 2 x 1.5 x 0.5 + 1 x 1.5 - 1 x 0.25
    assert verdict.values["score"] == 2.75
    assert verdict.confidence == pytest.approx(2.75 / 3.25)
    assert verdict.words == (
        "the score for long is 2.75, 1.5 needed (1h trend_starts long 1.5 (1h old); 5m trend_starts long 1.5 (0s old); "
        "5m donchian_breakout short 0.25 (2h old))"
    )
    assert [vote["strength"] for vote in verdict.values["strengths"]] == [1.5, 1.5, 0.25]


def test_what_larger_timeframes_permit_and_what_conflict_and_window_say_is_told_with_the_numbers_compared() -> None:
    rule = StrategicTactical((H4, H1), (M5,), 1, 240 * MINUTE)
    permitted = rule.propose(view(voice(H1, LONG, 45), voice(M5, LONG)), LONG)
    assert permitted.words == (
        "1 of 2 strategic timeframes permit long within 4h, 1 needed (permit: 1h; not: 4h), and uptrendStart of "
        "trend_starts on 5m times it"
    )
    assert permitted.confidence == 0.5
    assert [each.timeframe for each in permitted.because] == [H1, M5]
    said = view(voice(H1, SHORT, 30), voice(M15, LONG), voice(M5, LONG))
    assert {way: Conflict(way).judge(said, LONG).words for way in ("ignore", "stand_aside", "reduce")} == {
        "ignore": "1 of 3 voices oppose long (1h), which is ignored",
        "stand_aside": "1 of 3 voices oppose long (1h), so it stands aside",
        "reduce": "1 of 3 voices oppose long (1h), so 0.6667 of the confidence is left",
    }
    leads = Conflict("higher_timeframe", within_ns=90 * MINUTE).judge(said, LONG)
    assert leads.words == "1 of 3 voices within 1h30m oppose long (1h), and 1h, the largest that speaks, says short"
    window = TradingWindow(*DAY, CHICAGO, (0, 4)).judge(view(), LONG)
    assert window.words == "it is mon 10:00:00, within 08:30 to 15:00 America/Chicago on mon, fri"


def test_words_of_confluence_and_gates_hold_the_numbers_compared() -> None:
    verdict = Confluence((H4, H1, M15), 2, 240 * MINUTE).propose(view(voice(H1, LONG, 45), voice(M15, LONG)), LONG)
    assert verdict.words == "2 of 3 timeframes say long within 4h, 2 needed (agree: 1h, 15m; not: 4h)"
    assert verdict.confidence == pytest.approx(2 / 3)
    assert verdict.values == {
        "direction": "long", "agree": ["1h", "15m"], "do_not": ["4h"], "agreeing": 2, "need": 2, "of": 3,
        "within": "4h", "fresh": True,
    }  # fmt: skip
    cool = Cooldown(90 * MINUTE).judge(view(decided_ns=NOW - 45 * MINUTE), LONG)
    assert cool.words == "the last decision is 45m old, 1h30m needed"
    assert cool.values == {"direction": "long", "since": "45m", "need": "1h30m"}
    once = OncePer("session").judge(view(entries={LONG: ENTERED}, trade_date=date(2025, 3, 17)), LONG)
    assert once.words == "one entry per session (session of 2025-03-17), and one was decided at 2025-03-17T14:00:00Z"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Confluence((), 1), "timeframes is empty"),
        (lambda: Confluence((H1,), 2), "need 2 of 1 timeframes is impossible"),
        (lambda: Weighted({}, 1), "timeframe_weights is empty"),
        (lambda: Weighted({H1: 0}, 1), "weight 0 of 1h is not above 0"),
        (lambda: Weighted({H1: 1}, 1, {"a": float("inf")}), "weight inf of a"),
        (lambda: Weighted({H1: 1}, 0), "threshold 0 is not above 0"),
        (lambda: Weighted({H1: 1}, 1, half_life_ns=0), "half_life 0 ns"),
        (lambda: StrategicTactical((H1,), (), 1), "tactical is empty"),
        (lambda: StrategicTactical((H1,), (H1,), 1), "tactical 1h is not smaller than strategic 1h"),
        (lambda: StrategicTactical((H1,), (M5,), 2), "need 2 of 1 strategic timeframes"),
        (lambda: Cooldown(0), "length 0 ns is not above 0"),
        (lambda: TradingWindow(*DAY, CHICAGO, (7,)), r"days \[7\] are no weekdays"),
    ],
)
def test_impossible_parameters_are_refused(make: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make()  # type: ignore[operator]
