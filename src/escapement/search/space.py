"""What is tried: points of a grid, all of them, some by chance, or those that optuna asks for."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import orjson

from escapement.errors import InvalidInput, not_installed

Value: TypeAlias = bool | int | float | str | None
Point: TypeAlias = Mapping[str, Value]

_MOST_VALUES = 10_000


@dataclass(frozen=True, slots=True)
class Dimension:
    """A setting, by its path, and the values that are tried of it."""

    name: str
    values: tuple[Value, ...]


def dimension(text: str, read: Callable[[str], object]) -> Dimension:
    """Return what ``NAME=VALUE,VALUE`` or ``NAME=FIRST..LAST[..STEP]`` says.

    Args:
        text: what was written.
        read: makes a value of a text.

    Raises:
        InvalidInput: it says something else, or a value stands there twice.
    """
    name, is_given, written = text.partition("=")
    if not is_given or not name or not written:
        raise InvalidInput(
            f"--over {text!r}: write NAME=10,20,30 or NAME=10..30..10, such as execution.stop_ticks=10,20"
        )
    values = (
        _range(text, written) if ".." in written else tuple(_value(text, read(each)) for each in written.split(","))
    )
    if len({orjson.dumps(each) for each in values}) < len(values):
        raise InvalidInput(f"--over {text!r}: a value stands there twice; name each once")
    return Dimension(name, values)


def _value(text: str, value: object) -> Value:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InvalidInput(f"--over {text!r}: {value!r} is not a single value; name numbers or words")


def _range(text: str, written: str) -> tuple[Value, ...]:
    parts = written.split("..")
    try:
        numbers = [float(each) for each in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in {2, 3} or not all(map(math.isfinite, numbers)):
        raise InvalidInput(f"--over {text!r}: write FIRST..LAST or FIRST..LAST..STEP in numbers, such as 10..50..5")
    first, last, step = (*numbers, 1.0)[:3]
    if step <= 0 or last < first:
        raise InvalidInput(f"--over {text!r}: the step is above 0, and the last is not below the first; correct it")
    count = math.floor((last - first) / step + 1e-9) + 1
    if count > _MOST_VALUES:
        raise InvalidInput(f"--over {text!r}: these are {count:,} values; take a larger step")
    are_whole = all(each.is_integer() for each in (first, step)) and not any("." in each for each in parts)
    found = (first + number * step for number in range(count))
    return tuple(int(each) if are_whole else round(each, 12) for each in found)


def size(dimensions: Sequence[Dimension]) -> int:
    """Return of how many points the grid is."""
    return math.prod(len(each.values) for each in dimensions)


def key(point: Point) -> str:
    """Return the same text for the same point."""
    return orjson.dumps(point, option=orjson.OPT_SORT_KEYS).decode()


class Proposer(Protocol):
    """Says what to try next; the same answers lead to the same questions."""

    def ask(self) -> list[Point]:
        """Return the next points; none when it is done."""
        ...

    def tell(self, scores: Sequence[float | None]) -> None:
        """Take how good the points asked for last are, more is better; None where nothing can be said."""
        ...


class Once:
    """Proposes some points, all at once."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = list(points)

    def ask(self) -> list[Point]:
        """Return them, then none."""
        found, self._points = self._points, []
        return found

    def tell(self, scores: Sequence[float | None]) -> None:
        """Learn nothing."""


def grid(dimensions: Sequence[Dimension]) -> Proposer:
    """Propose every point."""
    names = [each.name for each in dimensions]
    return Once(
        [dict(zip(names, row, strict=True)) for row in itertools.product(*(each.values for each in dimensions))]
    )


def chosen_by_chance(dimensions: Sequence[Dimension], count: int, seed: int) -> Proposer:
    """Propose ``count`` points of the grid, none twice; the same seed gives the same."""
    total = size(dimensions)
    places = random.Random(seed).sample(range(total), min(count, total))  # noqa: S311 - it has to be the same again
    return Once([_at(dimensions, place) for place in places])


def _at(dimensions: Sequence[Dimension], place: int) -> Point:
    found: dict[str, Value] = {}
    for each in reversed(dimensions):
        place, index = divmod(place, len(each.values))
        found[each.name] = each.values[index]
    return {each.name: found[each.name] for each in dimensions}


class Optuna:
    """Proposes what optuna's tree-structured Parzen estimator expects most of, some at a time.

    How many at a time does not follow the number of workers, so that the same seed gives the same search on any
    machine. Numbers keep their order.

    Args:
        dimensions: of the grid.
        count: how many points in all.
        seed: of its chance.
        at_once: how many are asked for before any of them is known.

    Raises:
        ConfigurationError: optuna is not installed.
    """

    def __init__(self, dimensions: Sequence[Dimension], count: int, seed: int, at_once: int = 8) -> None:
        try:
            import optuna  # noqa: PLC0415 - an optional extra
        except ModuleNotFoundError:
            raise not_installed("optuna proposes the points", "search", "name another --method") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self._without_score = optuna.trial.TrialState.PRUNED
        self._dimensions, self._left, self._at_once = dimensions, count, at_once
        self._asked: list[optuna.trial.Trial] = []

    def ask(self) -> list[Point]:
        """Return the next points; one may come again."""
        count = min(self._left, self._at_once)
        self._left -= count
        self._asked = [self._study.ask() for _ in range(count)]
        return [{each.name: self._suggested(trial, each) for each in self._dimensions} for trial in self._asked]

    def tell(self, scores: Sequence[float | None]) -> None:
        """Take how good the points asked for last are."""
        for trial, score in zip(self._asked, scores, strict=True):
            if score is None:
                self._study.tell(trial, state=self._without_score)
            else:
                self._study.tell(trial, score)

    def _suggested(self, trial: object, which: Dimension) -> Value:
        are_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in which.values)
        places = len(which.values)
        if are_numbers:
            ordered = sorted(which.values, key=lambda each: float(each or 0))
            return ordered[trial.suggest_int(which.name, 0, places - 1)]  # type: ignore[attr-defined]
        return which.values[trial.suggest_categorical(which.name, range(places))]  # type: ignore[attr-defined]
