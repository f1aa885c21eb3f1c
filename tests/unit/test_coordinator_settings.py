"""The coordinator's rules as they are written down, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from escapement import rulebook, wiring
from escapement.core.coordination import Rules
from escapement.core.coordination.rules import Cooldown, OncePer, TradingWindow
from escapement.errors import ConfigurationError
from escapement.model import Timeframe
from escapement.settings import Settings, load_settings

EVERYTHING = """
timeframes: [1m, 5m, 15m, 1h, 4h]
analyzers:
  run: [trend_starts, {name: donchian_breakout, timeframes: [5m]}]
coordinator:
  name: trend
  directions: {uptrendStart: long, downtrendStart: short, surge: long}
  entries:
    - {rule: confluence, timeframes: [1h, 15m], need: all, within: 4h}
    - pass_through
    - {rule: weighted, timeframe_weights: {1h: 2, 15m: 1}, threshold: 2.5, analyzer_weights: {donchian_breakout: 0.5},
       half_life: 1h30m}
    - {rule: strategic_tactical, strategic: [4h, 1h], tactical: [5m], need: 1}
  conflict: {rule: stand_aside, within: 4h}
  gates:
    - {rule: cooldown, length: 90m}
    - {rule: once_per, what: session}
    - {rule: trading_window, from: 08:30, to: 15:00, timezone: America/Chicago, days: [mon, Tue]}
  exits: [opposite_signal]
  reverse: false
"""


def read(text: str, **environ: str) -> Settings:
    file = Path("settings.yaml")
    file.write_text(text)
    return load_settings(file, environ=environ)


def rules(settings: Settings) -> Rules:
    return wiring.coordination_rules(settings, wiring.analyzer_runs(settings))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_rule_can_be_written_and_read_back() -> None:
    settings = read(EVERYTHING)
    found = rules(settings)
    assert [each.name for each in found.entries] == ["confluence", "pass_through", "weighted", "strategic_tactical"]
    assert (found.coordinator, found.reverses, found.conflict.way) == ("trend", False, "stand_aside")
    cooldown, once, window = found.gates
    assert isinstance(cooldown, Cooldown)
    assert cooldown.length_ns == 5_400 * 10**9
    assert isinstance(once, OncePer)
    assert isinstance(window, TradingWindow)
    assert (str(window.begins), str(window.ends), window.zone.key, window.days) == (
        "08:30:00", "15:00:00", "America/Chicago", (0, 1),
    )  # fmt: skip
    assert rulebook.directions(settings.coordinator) == {"uptrendStart": 1, "downtrendStart": -1, "surge": 1}
    written = settings.coordinator.model_dump(mode="json")
    assert written["exits"] == ["opposite_signal"]
    assert written["gates"][2] == {
        "rule": "trading_window", "from": "08:30", "to": "15:00", "timezone": "America/Chicago", "days": ["mon", "tue"],
    }  # fmt: skip
    assert load_settings(environ={}, coordinator=written).coordinator == settings.coordinator


def test_rules_stand_in_variables_as_yaml() -> None:
    settings = read(
        "{}", ESCAPEMENT_COORDINATOR__ENTRIES="[{rule: confluence, timeframes: [1h, 15m], need: 1}]",
        ESCAPEMENT_COORDINATOR__CONFLICT="ignore", ESCAPEMENT_COORDINATOR__EXITS="opposite_signal",
    )  # fmt: skip
    found = rules(settings)
    assert (found.entries[0].name, found.conflict.way, len(found.exits)) == ("confluence", "ignore", 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entries: []", "coordinator.entries: .*at least 1"),
        ("entries: [nonsense]", "entries.0: .*'nonsense'.*'pass_through', 'confluence'"),
        ("entries: [{timeframes: [1h]}]", "entries.0 names no rule; write for example"),
        ("entries:", "coordinator.entries: .*at least 1"),
        ("entries: [confluence]", "entries.0.timeframes: Field required"),
        (
            "entries: [{rule: confluence, timeframes: [1h], tmeframe: 1}]",
            "tmeframe is no .*did you mean timeframes",
        ),
        ("entries: [{rule: confluence, timeframes: [1h], need: 2}]", "entries.0: need 2 of 1 timeframes is impossible"),
        ("entries: [{rule: confluence, timeframes: [7x]}]", "timeframe '7x' is unknown"),
        ("entries: [{rule: confluence, timeframes: [1h, 1h]}]", "1h stands there twice"),
        ("entries: [{rule: pass_through, within: 4h}]", "entries.0.within is no setting"),
        ("entries: [{rule: confluence, timeframes: [1h], within: 4}]", "within 4: is no length of time; write .*90m"),
        ("entries: [{rule: confluence, timeframes: [1h], within: 0s}]", "within '0s': is no length of time above 0"),
        ("entries: [{rule: weighted, timeframe_weights: {1h: 0}, threshold: 1}]", "timeframe_weights.1h 0: .*greater"),
        ("entries: [{rule: weighted, timeframe_weights: {1h: 1}, threshold: true}]", "threshold True: is not a number"),
        ("entries: [{rule: strategic_tactical, strategic: [5m], tactical: [1h]}]", "tactical 1h is not smaller"),
        ("entries: 5", "entries.0 5: should be"),
        ("conflict: maybe", "conflict.rule 'maybe': should be 'ignore', 'higher_timeframe'"),
        ("gates: [cooldown]", "gates.0.length: Field required"),
        ("gates: [{rule: once_per, what: day}]", "gates.0.what 'day': should be 'session'"),
        ("gates: [{rule: trading_window, from: 8, to: 15:00, timezone: UTC}]", "gates.0.from 8: is no time of day"),
        (
            "gates: [{rule: trading_window, from: 08:30, to: 25:00, timezone: UTC}]",
            "to '25:00': is no time of day",
        ),
        ("gates: [{rule: trading_window, from: 930, to: 15:00, timezone: UTC}]", 'from 930: .*write "08:30"'),
        ("gates: [{rule: trading_window, from: 1430, to: 15:00, timezone: UTC}]", "from 1430: is no time of day"),
        ("gates: [{rule: trading_window, from: 8:3, to: 15:00, timezone: UTC}]", "from '8:3': is no time of day"),
        (
            "gates: [{rule: trading_window, from: 08:30, to: 15:00, timezone: UTC, days: mon-fri}]",
            "'mon-fri': is no day",
        ),
        (
            "gates: [{rule: trading_window, from: 08:30, to: 15:00, timezone: UTC, days: [monthly]}]",
            "use some of mon, t",
        ),
        ("gates: [{rule: trading_window, from: 08:30, to: 15:00, timezone: Chicago}]", "'Chicago': is no time zone"),
        ("gates: [{rule: trading_window, from: 08:30, to: 15:00, timezone: UTC, days: [x]}]", "'x': is no day"),
        ("gates: [cooldwn]", "gates.0: .*'cooldwn'.*'cooldown', 'once_per', 'trading_window'"),
        ("gates: [{rule: cooldown, length: 1.5h}]", "gates.0.length '1.5h': is no length of time; write .*90m"),
        ("exits: [pass_through]", "exits.0.rule 'pass_through': should be 'opposite_signal'"),
        ("conflict: {rule: ignore, wihtin: 1h}", "conflict.wihtin is no setting; did you mean within"),
        ("entries: [{rule: confluence, timeframes: [1h], need: 0}]", "entries.0.need 0: is neither all nor a whole"),
        ("entries: [{rule: confluence, timeframes: [1h], need: true}]", "entries.0.need True: is neither all"),
        ("entries: [{rule: confluence, timeframes: [1h], need: some}]", "entries.0.need 'some': is neither all"),
        ("entries: [{rule: confluence, timeframes: []}]", "entries.0: timeframes is empty; name those"),
        ("directions: {}", "coordinator.directions: .*at least 1"),
        ("directions: {uptrendStart: up}", "directions.uptrendStart 'up': should be 'long' or 'short'"),
        ("patience_seconds: 0", "patience_seconds 0: should be greater"),
        ("poll_seconds: soon", "poll_seconds 'soon'"),
        ("reverse: maybe", "reverse 'maybe'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_place_value_and_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read(f"coordinator:\n  {text}\n")
    assert "settings.yaml line 2: coordinator." in str(caught.value)


@pytest.mark.parametrize(
    ("coordinator", "message"),
    [
        (
            "entries: [{rule: confluence, timeframes: [2h, 1h]}]",
            "coordinator.entries.0.timeframes 2h: no analyzer runs on it .they run on 5m, 1h.; add it to timeframes",
        ),
        (
            "entries: [{rule: confluence, timeframes: [1h], analyzers: [donchian_breakout]}]",
            "timeframes 1h: no analyzer of donchian_breakout runs on it .they run on 5m.",
        ),
        ("entries: [{rule: pass_through, analyzers: [foo]}]", "entries.0.analyzers 'foo' does not run .donchian"),
        (
            "entries: [{rule: weighted, timeframe_weights: {1h: 1}, threshold: 1, analyzer_weights: {foo: 1}}]",
            "entries.0.analyzer_weights 'foo' does not run .*add it to analyzers.run",
        ),
        (
            "entries: [{rule: weighted, timeframe_weights: {1h: 1, 5m: 1}, threshold: 3.1}]",
            "threshold 3.1 is impossible: .* reach 3 together",
        ),
        (
            "entries: [{rule: strategic_tactical, strategic: [4h], tactical: [1m]}]",
            "(?s)strategic 4h: no analyzer.*tactical 1m: no analyzer",
        ),
        ("exits: [{rule: opposite_signal, timeframes: [1d]}]", "coordinator.exits.0.timeframes 1d: no analyzer"),
        ("conflict: {rule: stand_aside, timeframes: [1d]}", "coordinator.conflict.timeframes 1d: no analyzer"),
    ],
)
def test_what_listens_to_something_that_does_not_run_or_can_never_be_is_refused(coordinator: str, message: str) -> None:
    analyzers = "{run: [trend_starts, {name: donchian_breakout, timeframes: [5m]}]}"
    settings = read(f"timeframes: [5m, 1h]\nanalyzers: {analyzers}\ncoordinator:\n  {coordinator}\n")
    with pytest.raises(ConfigurationError, match=message):
        rules(settings)


@pytest.mark.parametrize(
    ("begins", "clock"),
    [("8:30", "08:30"), ("08:30", "08:30"), ("15:00", "15:00"), ('"00:00"', "00:00"), ("0:00", "00:00")],
)
def test_a_time_of_day_is_read_as_written_with_and_without_quotes(begins: str, clock: str) -> None:
    gates = f"[{{rule: trading_window, from: {begins}, to: 16:10, timezone: UTC, days: [Friday, sun]}}]"
    for settings in (read(f"coordinator:\n  gates: {gates}\n"), read("{}", ESCAPEMENT_COORDINATOR__GATES=gates)):
        (window,) = settings.coordinator.model_dump(mode="json")["gates"]
        assert (window["from"], window["to"], window["days"]) == (clock, "16:10", ["fri", "sun"])


def test_a_threshold_that_all_weights_meet_is_not_refused_for_how_they_are_rounded() -> None:
    for weights in ("{5m: 0.7, 15m: 0.1, 1h: 0.2}", "{5m: 0.2, 15m: 0.1, 1h: 0.7}", "{5m: 0.1, 15m: 0.7, 1h: 0.2}"):
        settings = read(
            "timeframes: [5m, 15m, 1h]\ncoordinator:\n"
            f"  entries: [{{rule: weighted, timeframe_weights: {weights}, threshold: 1}}]\n"
        )
        assert rules(settings).entries[0].name == "weighted"


def test_a_threshold_that_can_just_be_reached_is_not_refused() -> None:
    settings = read(
        "timeframes: [5m, 1h]\ncoordinator:\n"
        "  entries: [{rule: weighted, timeframe_weights: {1h: 1, 5m: 2}, threshold: 3}]\n"
    )
    assert rules(settings).entries[0].name == "weighted"
    assert Timeframe.parse("1h") in settings.timeframes
