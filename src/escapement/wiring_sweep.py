"""Binding a search to settings: what a point changes, and what it comes to over history."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import ValidationError

from escapement import rulebook, wiring, wiring_backtest
from escapement.backtest.analysis import Reader, heard
from escapement.backtest.figures import closed_trades, curve, daily, figures, statistics
from escapement.backtest.run import History, Outcome, trade, weigh
from escapement.backtest.shortcut import Reckoned, is_plain, reckon
from escapement.core.analysis.columns import said
from escapement.errors import ConfigurationError
from escapement.model import Decision, HeardSignal
from escapement.search.luck import Returns
from escapement.search.space import Point
from escapement.settings import Settings

Integers = NDArray[np.int64]
_SECTIONS = "timeframes", "contracts", "products", "analyzers", "coordinator", "execution", "risk", "backtest"
_HEARD_BY = "timeframes", "contracts", "analyzers"
_KEPT = 64


def plain(settings: Settings) -> dict[str, Any]:
    """Return the settings that a backtest follows, as plain data without secrets."""
    shown = settings.model_dump(mode="json", by_alias=True)
    return {name: shown[name] for name in _SECTIONS}


def changed(settings: Mapping[str, Any], point: Point) -> dict[str, Any]:
    """Return plain settings with the values of a point; a number in a path is a place in a list, from 0.

    Raises:
        ConfigurationError: a path leads nowhere.
    """
    found = deepcopy(dict(settings))
    for path, value in point.items():
        names = path.split(".")
        inner: Any = found
        for depth, name in enumerate(names[:-1]):
            inner = _step(inner, name, ".".join(names[: depth + 1]))
        _put(inner, names[-1], value, path)
    return found


def _step(inner: Any, name: str, path: str) -> Any:
    if isinstance(inner, list):
        index = _place(inner, name, path)
        if isinstance(inner[index], str):  # an analyzer that is only named
            inner[index] = {"name": inner[index]}
        return inner[index]
    if not isinstance(inner, dict):
        raise ConfigurationError(f"--over {path} leads into a single value; escapement config show lists the settings")
    if inner.get(name) is None:
        inner[name] = {}
    return inner[name]


def _put(inner: Any, name: str, value: object, path: str) -> None:
    if isinstance(inner, list):
        inner[_place(inner, name, path)] = value
    elif isinstance(inner, dict):
        inner[name] = value
    else:
        raise ConfigurationError(f"--over {path} leads into a single value; escapement config show lists the settings")


def _place(inner: list[Any], name: str, path: str) -> int:
    if not name.isdecimal() or int(name) >= len(inner):
        raise ConfigurationError(f"--over {path}: the list has places 0 to {len(inner) - 1}; name one of them")
    return int(name)


def _settings(given: Mapping[str, Any]) -> Settings:
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        faults = [f"{'.'.join(str(each) for each in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise ConfigurationError("; ".join(faults)) from None


class _Decided(NamedTuple):
    """Decisions in the order in which they were taken: when each was known (nanoseconds UTC), and what it wishes."""

    at_ns: Integers
    direction: Integers


class PointWork:
    """What a point of a search comes to: plain figures, and what its daily returns look like.

    What an analyzer said is kept by its parameters, and what was decided by all that it follows from, so that points
    that differ in something later do it no second time. Where a case is plain enough it is reckoned instead of traded,
    with the same outcome; see ``backtest.shortcut``.
    """

    def __init__(self, settings: Mapping[str, Any], histories: Sequence[History]) -> None:
        self._settings, self._histories = settings, histories
        self._forget()

    def _forget(self) -> None:
        self.readings = 0  # how many times an analyzer went over history
        self._said: dict[object, _Decided | None] = {}
        self._signals: dict[object, list[HeardSignal]] = {}
        self._decisions: dict[object, Any] = {}
        self._cuts: dict[tuple[int, int], list[History]] = {}

    def __getstate__(self) -> tuple[Mapping[str, Any], Sequence[History]]:
        return self._settings, self._histories

    def __setstate__(self, state: tuple[Mapping[str, Any], Sequence[History]]) -> None:
        self._settings, self._histories = state
        self._forget()

    def __call__(self, point: Point, from_ns: int, to_ns: int) -> dict[str, Any]:
        """Trade ``[from_ns, to_ns)`` with a point's settings.

        Raises:
            EscapementError: they cannot be used.
        """
        given = changed(self._settings, point)
        settings = _settings(given)
        account, cut = wiring_backtest.account(settings), self._cut(from_ns, to_ns)
        if not is_plain(cut, account):
            decisions: list[Decision] = self._weighed(settings, given, from_ns, to_ns)
            return told(trade(cut, decisions, account, from_ns, to_ns))
        found = self._followed(settings, from_ns, to_ns)
        if found is None:
            found = self._weighed(settings, given, from_ns, to_ns, _columns)
        return told(reckon(cut[0], found.at_ns, found.direction, account, from_ns, to_ns))

    def group_of(self, point: Point) -> str:
        """Return the same for points whose analyzers say the same."""
        given = changed(self._settings, point)
        return orjson.dumps([given[name] for name in _HEARD_BY]).decode()

    def _readers(self, settings: Settings) -> list[Reader]:
        usable = [
            replace(each, bars={frame: each.bars[frame] for frame in settings.timeframes if frame in each.bars})
            for each in self._histories
        ]
        return wiring_backtest.readers(wiring.analyzer_runs(settings), usable)

    def _followed(self, settings: Settings, from_ns: int, to_ns: int) -> _Decided | None:
        """Return the decisions where they are what a single analyzer says that can be read in columns."""
        runs, directions = wiring.analyzer_runs(settings), rulebook.directions(settings.coordinator)
        rules, readers = wiring.coordination_rules(settings, runs), self._readers(settings)
        if len(readers) != 1 or not rules.follows_each(readers[0].key.timeframe, readers[0].key.analyzer):
            return None
        key = (readers[0].key, tuple(sorted(directions.items())))
        if key not in self._said:
            _make_room(self._said)
            self._said[key] = self._read(readers[0], directions)
        whole = self._said[key]
        if whole is None:
            return None
        begin, end = np.searchsorted(whole.at_ns, (from_ns, to_ns), side="right")
        return _Decided(whole.at_ns[begin:end], whole.direction[begin:end])

    def _read(self, reader: Reader, directions: Mapping[str, int]) -> _Decided | None:
        (history,) = (each for each in self._histories if each.contract.contract_id == reader.key.contract_id)
        bars = history.columns(reader.key.timeframe)
        found = said(reader.create(), reader.params, bars.high, bars.low, bars.close)
        if found is None:
            return None
        self.readings += 1
        ways = np.array([directions.get(name, 0) for name in found.types])[found.kind]
        return _Decided(bars.end_ns[found.bar][ways != 0], ways[ways != 0])

    def _weighed(
        self, settings: Settings, given: Mapping[str, Any], from_ns: int, to_ns: int,
        kept: Callable[[list[Decision]], Any] = lambda decisions: decisions,
    ) -> Any:  # fmt: skip
        """Return what the coordinator decides, in the form in which it is kept."""
        signals, heard_as = self._heard(settings, from_ns, to_ns)
        key = (heard_as, orjson.dumps(given["coordinator"]), from_ns, to_ns, kept is _columns)
        if key not in self._decisions:
            rules = wiring.coordination_rules(settings, wiring.analyzer_runs(settings))
            _make_room(self._decisions)
            self._decisions[key] = kept(weigh(self._histories, rules, signals))
        return self._decisions[key]

    def _heard(self, settings: Settings, from_ns: int, to_ns: int) -> tuple[list[HeardSignal], object]:
        directions = rulebook.directions(settings.coordinator)
        by_id = {each.contract.contract_id: each for each in self._histories}
        found: list[HeardSignal] = []
        keys: list[object] = []
        for reader in self._readers(settings):
            key = (reader.key, tuple(sorted(directions.items())))
            if key not in self._signals:
                _make_room(self._signals)
                self.readings += 1
                bars = by_id[reader.key.contract_id].bars[reader.key.timeframe]
                self._signals[key] = sorted(heard(reader, bars, directions, 0), key=_known_at)
            signals = self._signals[key]
            found += signals[
                bisect_right(signals, from_ns, key=_known_at) : bisect_right(signals, to_ns, key=_known_at)
            ]
            keys.append(key)
        return found, tuple(keys)

    def _cut(self, from_ns: int, to_ns: int) -> list[History]:
        if (from_ns, to_ns) not in self._cuts:
            _make_room(self._cuts)
            self._cuts[from_ns, to_ns] = [_between(each, from_ns, to_ns) for each in self._histories]
        return self._cuts[from_ns, to_ns]


def _columns(decisions: list[Decision]) -> _Decided:
    return _Decided(
        np.array([each.known_at_ns for each in decisions], np.int64),
        np.array([each.direction for each in decisions], np.int64),
    )


def told(outcome: Outcome | Reckoned) -> dict[str, Any]:
    """Return what is kept of an outcome."""
    course = curve(outcome)
    ends = [float(outcome.start_balance), *(equity for _, equity in daily(outcome, course))]
    is_sound = all(each > 0 for each in ends)
    returns = Returns.of([after / before - 1 for before, after in pairwise(ends)]) if is_sound else None
    if isinstance(outcome, Reckoned):
        totals = statistics(outcome, outcome.net.tolist(), outcome.fees, course)
    else:
        totals = figures(outcome, closed_trades(outcome), course)
    return asdict(totals) | {"returns": None if returns is None else asdict(returns)}


def _between(history: History, from_ns: int, to_ns: int) -> History:
    smallest = min(history.bars)
    bars = history.bars[smallest]
    first = bisect_right(bars, from_ns, key=lambda each: each.end_ns)
    cut = bars[first : bisect_right(bars, to_ns, key=lambda each: each.end_ns) + 1]
    trades = history.trades
    if trades is not None:
        trades = trades[bisect_left(trades, from_ns, key=_at) : bisect_left(trades, to_ns, key=_at)]
    return replace(history, bars={smallest: cut}, trades=trades)


def _at(trade_: Any) -> int:
    return int(trade_.at_ns)


def _known_at(each: HeardSignal) -> int:
    return each.signal.known_at_ns


def _make_room(kept: dict[Any, Any]) -> None:
    """Leave out what was kept first, so that what is remembered does not grow with the number of points."""
    if len(kept) >= _KEPT:
        kept.pop(next(iter(kept)))
