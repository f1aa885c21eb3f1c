"""What every analyzer owes besides its signals, and finding one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from escapement.analyzers import AnalyzerPlugin, available_analyzers, find_analyzer
from escapement.core.analysis import Analyzer, TrendStarts, check_follows, trend_starts
from escapement.errors import ConfigurationError, InvalidInput
from escapement.model import Bar, Signal, Timeframe

MINUTE = Timeframe.parse("1m")
PLUGINS = available_analyzers()[0]


def bar(number: int, close: float = 5.0) -> Bar:
    return Bar("X", MINUTE, number * 60, number * 60 + 60, 5.0, max(6.0, close), min(4.0, close), close, 1)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_a_state_that_is_not_its_own_is_refused_and_changes_nothing(plugin: AnalyzerPlugin) -> None:
    analyzer = plugin.create(plugin.params({}))
    for number in range(40):
        analyzer.push(bar(number, 4.0 + number % 5))
    before = json.dumps(analyzer.snapshot())
    good: dict[str, Any] = json.loads(before)
    own = [name for name in good if name not in {"analyzer", "version"}]
    spoilt: list[dict[str, Any]] = [{}, {**good, "version": 99}, {**good, "analyzer": "another"}]
    spoilt += [{key: value for key, value in good.items() if key != name} for name in own]
    spoilt += [{**good, name: "nonsense"} for name in own if name != "last_is_up"]
    for state in spoilt:
        with pytest.raises(InvalidInput, match="do without it"):
            analyzer.restore(state)
        assert json.dumps(analyzer.snapshot()) == before


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_built_in_analyzers_follow_the_protocol_and_are_silent_when_only_time_passes(plugin: AnalyzerPlugin) -> None:
    analyzer = plugin.create(plugin.params({}))
    assert isinstance(analyzer, Analyzer)
    assert analyzer.warm_up_bars > 0
    assert not analyzer.advance(10**18)
    assert not analyzer.push(bar(1))
    assert plugin.origin == "built in"
    is_compiled = not trend_starts.__file__.endswith(".py")
    assert plugin.summary or is_compiled  # mypyc keeps no docstrings


def test_a_signal_cannot_be_changed_and_equals_one_of_the_same_values() -> None:
    values: tuple[Any, ...] = ("a", "X", MINUTE, "up", 1, 2, 3, 4.0, "R")
    signal = Signal(*values)
    assert signal == Signal(*values)
    assert hash(signal) == hash(Signal(*values))
    with pytest.raises(AttributeError):
        signal.price = 5.0  # type: ignore[misc] # what must not work


def test_parameters_are_read_from_text_and_from_values() -> None:
    plugin = find_analyzer("moving_average_crossover")
    assert plugin.params({"fast": "3", "slow": 7}) == plugin.params_type(fast=3, slow=7)
    assert plugin.describe_params() == "fast=10 slow=30"
    with pytest.raises(ConfigurationError, match="it has none"):
        find_analyzer("trend_starts").params({"length": 3})


def test_bars_of_another_stream_or_out_of_order_are_told() -> None:
    check_follows(bar(1), None)
    check_follows(bar(2), bar(1))
    with pytest.raises(InvalidInput, match="oldest first, each once"):
        check_follows(bar(1), bar(1))
    other = Bar("Y", MINUTE, 999, 1059, 1.0, 1.0, 1.0, 1.0, 1)
    with pytest.raises(InvalidInput, match="bar of Y 1m follows one of X 1m"):
        check_follows(other, bar(1))


def test_a_start_is_known_only_from_its_trigger_bar_on() -> None:
    analyzer = TrendStarts()
    prices = [(10.0, 12.0, 9.0, 11.0), (11.0, 11.5, 9.5, 10.0), (10.0, 11.0, 9.2, 9.4)]
    found = []
    for number, each in enumerate(prices):
        found.append(list(analyzer.push(Bar("X", MINUTE, number * 60, number * 60 + 60, *each, 1))))
    assert found[:2] == [[], []]
    assert found[2] == [Signal("trend_starts", "X", MINUTE, "uptrendStart", 0, 120, 180, 9.0, "EXHAUSTION_REVERSAL")]
