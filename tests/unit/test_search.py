"""Search by hand-checked cases: points, windows, luck, and the file that lets it go on."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escapement.errors import InvalidInput
from escapement.model import Period, Session
from escapement.search.ledger import Ledger
from escapement.search.luck import Returns, deflated_sharpe, expected_best
from escapement.search.space import Dimension, Optuna, Point, chosen_by_chance, dimension, grid, key
from escapement.search.sweep import CHOSEN, TRIED, Search, rows, search, warnings
from escapement.search.windows import Window, windows
from escapement.search.workers import local
from escapement.settings.fields import from_yaml

STOPS, TARGETS = Dimension("stop", (10, 20, 30)), Dimension("target", (40, 80))
HOUR = 3_600_000_000_000


def sessions(count: int) -> list[Session]:
    return [Session(date.fromordinal(738_000 + day), (Period(day * 24 * HOUR, day * 24 * HOUR + 23 * HOUR),))
            for day in range(count)]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=10,20", (10, 20)), ("a=1..3", (1, 2, 3)), ("a=0.1..0.5..0.2", (0.1, 0.3, 0.5)), ("a=10..19..5", (10, 15)),
        ("a=true,null,word", (True, None, "word")), ("a=1..2..0.5", (1.0, 1.5, 2.0)),
    ],
)  # fmt: skip
def test_a_dimension_says_its_values(text: str, values: tuple[object, ...]) -> None:
    found = dimension(text, from_yaml)
    assert found.values == values
    assert [type(each) for each in found.values] == [type(each) for each in values]


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=1,1", "a=1..x", "a=3..1", "a=1..2..0", "a=[1]", "a=0..1..1e-9"])
def test_what_is_no_dimension_is_refused_by_its_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="--over"):
        dimension(text, from_yaml)


def test_a_grid_has_every_point_once_and_chance_none_twice() -> None:
    points = grid([STOPS, TARGETS]).ask()
    assert len({key(each) for each in points}) == len(points) == 6
    assert points[0] == {"stop": 10, "target": 40}
    drawn = chosen_by_chance([STOPS, TARGETS], 4, 1).ask()
    assert len({key(each) for each in drawn}) == 4
    assert drawn == chosen_by_chance([STOPS, TARGETS], 4, 1).ask() != chosen_by_chance([STOPS, TARGETS], 4, 2).ask()
    assert {key(each) for each in chosen_by_chance([STOPS, TARGETS], 99, 1).ask()} == {key(each) for each in points}


def hill(point: Point) -> float:
    return -((int(str(point["x"])) - 37) ** 2) - (0 if point["word"] == "good" else 500)


def test_optuna_climbs_better_than_chance_and_the_same_way_again() -> None:
    dimensions = [Dimension("x", tuple(range(200))), Dimension("word", ("bad", "good", None))]

    def climb(seed: int) -> list[float]:
        proposer, seen = Optuna(dimensions, 60, seed), []
        while points := proposer.ask():
            proposer.tell([hill(each) for each in points])
            seen += [hill(each) for each in points]
        return seen

    assert len(climb(1)) == 60
    assert climb(1) == climb(1)
    blind = [max(map(hill, chosen_by_chance(dimensions, 60, seed).ask())) for seed in range(5)]
    assert sum(max(climb(seed)) for seed in range(5)) > sum(blind)


def test_a_window_keeps_its_last_days_apart() -> None:
    some = sessions(10)
    (only,) = windows(some, some[-1].close_ns, 1, 0.3)
    assert (only.from_ns, only.split_ns, only.to_ns) == (some[0].open_ns, some[7].open_ns, some[-1].close_ns)
    (whole,) = windows(some, some[-1].close_ns, 1, 0)
    assert not whole.is_tried


@given(count=st.integers(2, 400), number=st.integers(1, 12), share=st.floats(0.05, 0.95))
def test_windows_roll_on_without_overlap_of_what_they_are_tried_on(count: int, number: int, share: float) -> None:
    some = sessions(count)
    try:
        found = windows(some, some[-1].close_ns, number, share)
    except InvalidInput:
        assert count < 4 * number + 8 or share > 0.5  # only where there is no room
        return
    assert len(found) == number
    assert found[-1].to_ns == some[-1].close_ns
    for each in found:
        assert each.from_ns < each.split_ns < each.to_ns
    for before, after in pairwise(found):
        assert before.to_ns == after.split_ns
        assert before.from_ns < after.from_ns
    lengths = {round((each.split_ns - each.from_ns) / (24 * HOUR)) for each in found}
    assert len(lengths) == 1


@pytest.mark.parametrize(("count", "share", "said"), [(0, 0.3, "--windows"), (1, 1.0, "--out-of-sample"),
                                                      (2, 0.0, "--out-of-sample"), (9, 0.5, "too few")])  # fmt: skip
def test_windows_that_cannot_be_are_refused(count: int, share: float, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        windows(sessions(6), 6 * 24 * HOUR, count, share)


def test_the_deflated_sharpe_ratio_of_the_papers_example() -> None:
    # 100 trials, variance 1/2 a year, 1250 days, yearly Sharpe 2.5, skew -3, kurtosis 10: the paper finds 0.9004.
    day = math.sqrt(250)
    spread = math.sqrt(0.5) / day
    sharpes = [spread * (1 if number % 2 else -1) * math.sqrt(99 / 100) for number in range(100)]
    best = Returns(1250, 2.5 / day, -3.0, 10.0)
    assert expected_best(sharpes) == pytest.approx(0.1132, abs=2e-4)
    assert deflated_sharpe(best, sharpes) == pytest.approx(0.9004, abs=2e-3)
    assert deflated_sharpe(best, sharpes, 10_000) < deflated_sharpe(best, sharpes)


def test_one_trial_is_not_deflated_by_others() -> None:
    best = Returns(101, 0.1, 0.0, 3.0)
    expected = NormalDist().cdf(0.1 * 10 / math.sqrt(1 + 0.5 * 0.01))
    assert deflated_sharpe(best, [0.1]) == pytest.approx(expected)
    assert Returns.of([0.01, 0.01, 0.01]) is None
    assert Returns.of([0.01, 0.02]) is None


def test_the_best_of_many_without_skill_is_not_called_more_than_luck() -> None:
    chance = random.Random(5)
    many = [Returns.of([chance.gauss(0, 1) for _ in range(250)]) for _ in range(300)]
    known = [each for each in many if each is not None]
    best = max(known, key=lambda each: each.sharpe)
    assert deflated_sharpe(best, [best.sharpe]) > 0.99
    assert deflated_sharpe(best, [each.sharpe for each in known]) < 0.8


class Counted:
    """Work that is known in advance, and counts how often it was done."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []

    def __call__(self, point: Point, from_ns: int, to_ns: int) -> dict[str, object]:
        assert from_ns < to_ns
        self.done.append((key(point), from_ns))
        if point["stop"] == 30:
            raise InvalidInput("stop 30 is too far")
        net = float(str(point["stop"])) * float(str(point["target"])) * (1 if from_ns == 0 else -1)
        return {"net": net, "trades": 40, "returns": None}


def plan_of(count: int = 1) -> Search:
    spans = [Window(number, number * 10, number * 10 + 20, number * 10 + 30) for number in range(count)]
    return Search(spans, lambda: grid([STOPS, TARGETS]), "net", lambda point: str(point["stop"]))


def test_what_is_chosen_is_the_best_in_sample_and_is_tried_on_new_days(tmp_path: Path) -> None:
    work = Counted()
    with Ledger(tmp_path / "results.jsonl", {}) as ledger:
        trials, choices = search(plan_of(), work, local(1), ledger)
    (choice,) = choices
    assert choice.best.point == {"stop": 20, "target": 80}
    assert choice.tried is not None
    assert choice.tried.result["net"] == -1_600
    assert [each.part for each in trials] == [CHOSEN] * 6 + [TRIED]
    said = " ".join(warnings(trials, choices))
    assert "2 trials could not be traded; the first: stop 30 is too far" in said
    assert "none out of sample" in said
    assert [row.get("error") for row in rows(trials)].count("stop 30 is too far") == 2


def test_a_search_that_was_cut_short_does_nothing_twice(tmp_path: Path) -> None:
    whole = Counted()
    with Ledger(tmp_path / "whole" / "results.jsonl", {"a": 1}) as ledger:
        expected = search(plan_of(2), whole, local(1), ledger)
    lines = (tmp_path / "whole" / "results.jsonl").read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        file = tmp_path / f"cut{kept}.jsonl"
        file.write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])  # killed while it wrote
        rest = Counted()
        with Ledger(file, {"a": 1}) as ledger:
            assert len(ledger) == kept - 1
            assert search(plan_of(2), rest, local(1), ledger) == expected
        assert len(rest.done) == len(whole.done) - (kept - 1)
        assert file.read_bytes().splitlines()[kept:] != []


def test_the_results_of_another_search_are_never_mixed_in(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a", {"seed": 1, "over": ("x",)}):
        pass
    with Ledger(tmp_path / "a", {"seed": 1, "over": ["x"]}):
        pass
    with pytest.raises(InvalidInput, match="another search \\(seed differ\\)"):
        Ledger(tmp_path / "a", {"seed": 2, "over": ("x",)})
    for text in ("something else\n", "something else", "{}\nmore"):
        (tmp_path / "b").write_text(text)
        with pytest.raises(InvalidInput, match="does not hold"):
            Ledger(tmp_path / "b", {})
        assert (tmp_path / "b").read_text() == text
    (tmp_path / "c").write_text('{"plan":{"see')
    with Ledger(tmp_path / "c", {"seed": 1}) as begun:
        assert len(begun) == 0


def test_points_of_one_group_go_to_a_worker_together(tmp_path: Path) -> None:
    seen: list[Sequence[str]] = []

    def work(point: Point, from_ns: int, to_ns: int) -> dict[str, object]:
        assert (from_ns, to_ns) == (0, 20)
        seen.append(str(point["stop"]))
        return {"net": 1.0, "trades": 1, "returns": None}

    dimensions = [TARGETS, STOPS]  # neighbours in the grid are of different groups
    plan = Search([Window(0, 0, 20, 20)], lambda: grid(dimensions), "net", lambda point: str(point["stop"]))
    with Ledger(tmp_path / "results.jsonl", {}) as ledger:
        search(plan, work, local(1), ledger)
    assert seen == ["10", "10", "20", "20", "30", "30"]
