"""A search from its first point to its table.

In each window points are compared by an objective on the first part only. The best is then traded on the second part,
which had no say in the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from escapement.search.ledger import Job, Ledger, Result
from escapement.search.luck import Returns, deflated_sharpe
from escapement.search.space import Point, Proposer, key
from escapement.search.windows import Window
from escapement.search.workers import Run, Task, Work, Workers

CHOSEN, TRIED = "chosen", "tried"
FEW_TRADES = 30
MANY_TRIALS_A_TRADE = 1.0
_BATCHES_A_WORKER = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a point on a part of a window; ``score`` is its objective, None where nothing can be said."""

    window: Window
    part: str
    point: Point
    result: Result
    score: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What a window chose, how it did out of sample, and the probability that it is more than luck (deflated Sharpe).

    ``trials``: how many points it was chosen among.
    """

    window: Window
    best: Trial
    tried: Trial | None
    trials: int
    more_than_luck: float | None


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched, and how.

    ``propose`` makes a new proposer for a window. ``group_of`` names what points have in common that is dear to work
    out: those of one group are given to a worker together. ``workers_count``: for how many batches are made.
    """

    windows: Sequence[Window]
    propose: Callable[[], Proposer]
    objective: str
    group_of: Callable[[Point], str]
    workers_count: int = 1


def search(
    plan: Search, work: Work, workers: Workers, ledger: Ledger, seen: Callable[[int, int], None] = lambda _, __: None
) -> tuple[list[Trial], list[Choice]]:
    """Search; return every trial, by window and in the order in which they were proposed, and what was chosen.

    Args:
        plan: what to do.
        work: trades a point over a stretch.
        workers: who does it.
        ledger: keeps what is known, and knows what need not be done again.
        seen: is told, after each batch, the number of the window and how many trials are known of it.
    """
    trials: list[Trial] = []
    choices: list[Choice] = []
    with workers(work) as run:
        for window in plan.windows:
            found: dict[str, Trial] = {}
            proposer = plan.propose()
            while points := proposer.ask():
                _do(plan, run, ledger, [(window, CHOSEN, each) for each in points], seen)
                asked = [_trial(ledger, window, CHOSEN, each, plan.objective) for each in points]
                proposer.tell([each.score for each in asked])
                found |= {key(each.point): each for each in asked if key(each.point) not in found}
            trials += found.values()
            best = max((each for each in found.values() if each.score is not None), key=_score, default=None)
            if best is None:
                continue
            tried = None
            if window.is_tried:
                _do(plan, run, ledger, [(window, TRIED, best.point)], seen)
                tried = _trial(ledger, window, TRIED, best.point, plan.objective)
                trials.append(tried)
            choices.append(Choice(window, best, tried, len(found), _luck(best, list(found.values()))))
    return trials, choices


def _do(
    plan: Search,
    run: Run,
    ledger: Ledger,
    wanted: Sequence[tuple[Window, str, Point]],
    seen: Callable[[int, int], None],
) -> None:
    jobs: dict[str, tuple[Job, Task]] = {}
    done = 0
    for window, part, point in wanted:
        job: Job = (window.number, part, point)
        if ledger.get(job) is not None:
            done += 1
            continue
        stretch = (window.from_ns, window.split_ns) if part == CHOSEN else (window.split_ns, window.to_ns)
        jobs[key(point)] = (job, (point, *stretch))
    seen(wanted[0][0].number, done)
    batches = _batches(plan, list(jobs.values()))
    for number, results in run([[task for _, task in batch] for batch in batches]):
        ledger.put([(job, result) for (job, _), result in zip(batches[number], results, strict=True)])
        done += len(results)
        seen(wanted[0][0].number, done)


def _batches(plan: Search, jobs: Sequence[tuple[Job, Task]]) -> list[list[tuple[Job, Task]]]:
    groups: dict[str, list[tuple[Job, Task]]] = {}
    for each in jobs:
        groups.setdefault(plan.group_of(each[1][0]), []).append(each)
    most = max(1, len(jobs) // (plan.workers_count * _BATCHES_A_WORKER))
    return [group[place : place + most] for group in groups.values() for place in range(0, len(group), most)]


def _trial(ledger: Ledger, window: Window, part: str, point: Point, objective: str) -> Trial:
    result = ledger.get((window.number, part, point)) or {}
    score = result.get(objective)
    return Trial(window, part, point, result, None if score is None or not result.get("trades") else float(score))


def _score(trial: Trial) -> float:
    return float("-inf") if trial.score is None else trial.score


def _luck(best: Trial, trials: Sequence[Trial]) -> float | None:
    returns = best.result.get("returns")
    if returns is None:
        return None
    sharpes = [each.result["returns"]["sharpe"] for each in trials if each.result.get("returns") is not None]
    return deflated_sharpe(Returns(**returns), sharpes, len(trials))


def warnings(trials: Sequence[Trial], choices: Sequence[Choice]) -> list[str]:
    """Return, in words, why what was found should not be believed."""
    found = []
    errors = [each for each in trials if "error" in each.result]
    if errors:
        found.append(f"{len(errors):,} trials could not be traded; the first: {errors[0].result['error']}")
    if not choices:
        found.append("nothing could be chosen: no point traded, or the stretch is too short for the objective")
    for each in choices:
        name, trades = f"window {each.window.number + 1}", int(each.best.result["trades"])
        if each.best.result["net"] <= 0:
            found.append(f"{name}: no point made money in sample; the best of them only lost least")
        if trades < FEW_TRADES:
            found.append(f"{name}: the best made {trades} trades; of fewer than {FEW_TRADES} nothing follows")
        if each.trials > MANY_TRIALS_A_TRADE * trades:
            found.append(
                f"{name}: {each.trials:,} points were tried on {trades:,} trades of the best; with so many, something "
                "always fits"
            )
        if each.more_than_luck is not None and each.more_than_luck < 0.95:
            found.append(
                f"{name}: the deflated Sharpe ratio is {each.more_than_luck:.0%}; below 95% the best may be luck "
                "of the many tries"
            )
        if each.tried is None:
            found.append(
                f"{name}: everything was seen when choosing; name --out-of-sample to try the choice on new days"
            )
        elif each.tried.result.get("net", 0) <= 0 < each.best.result["net"]:
            found.append(f"{name}: what was chosen made money in sample and none out of sample")
    return found


def rows(trials: Iterable[Trial]) -> list[Mapping[str, Any]]:
    """Return the trials as rows of a table: window, part, the point's settings, and plain figures."""
    found: list[Mapping[str, Any]] = []
    for each in trials:
        plain = {name: value for name, value in each.result.items() if not isinstance(value, Mapping)}
        found.append({"window": each.window.number + 1, "part": each.part, **each.point, **plain})
    return found
