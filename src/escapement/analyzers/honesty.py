"""Whether an analyzer keeps the promise that its signals follow from its parameters and the bars pushed so far.

The bars of a file are run in many ways that must make no difference:

- as a whole, watching that signals name the bar that triggered them and do not change once returned;
- bar by bar with no later bar in existence, and as prefixes of the file: a difference is look-ahead;
- as a whole once more, and in random pieces with a snapshot, through JSON text, between them: a difference is state
  hidden in the class, the module or a clock, or missing from the snapshot;
- from later starts, the stated number of warm-up bars before them: a difference is too short a warm-up.

Files, sockets and databases opened meanwhile are findings too. What this cannot find is an analyzer whose source knows
the file by heart.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import structs

from escapement.analyzers.outside import watched
from escapement.core.analysis import Analyzer
from escapement.model import Bar, Signal
from escapement.moments import iso_from_ns

_PUSHES_FOR_PREFIXES = 2_000_000  # every prefix of some 2,000 bars; of longer files evenly spread ones
_WAYS_TO_CUT = 5
_BARS_CUT_EACH = 2_000
_MOST_WARM_STARTS = 100
_BARS_AFTER_WARM_UP = 500

Create = Callable[[], Analyzer]
# What one bar gave: written down at once, so that later changes do not reach it.
Told = tuple[str, ...]


class Fault(StrEnum):
    """What an analyzer does that it must not."""

    LOOK_AHEAD = "look-ahead"
    HIDDEN_STATE = "hidden state"
    SHORT_WARM_UP = "too short a warm-up"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """The first bar (counted from 1) at which an analyzer was found to do what it must not, and how it showed."""

    fault: Fault
    bar_number: int
    bar_start_ns: int
    detail: str

    def __str__(self) -> str:
        return f"{self.fault} at bar {self.bar_number} ({iso_from_ns(self.bar_start_ns)}): {self.detail}"


@dataclass(slots=True)
class HonestyReport:
    """What was run, and what was found; ``proved`` says it in words, one run a line, ``unproved`` what could not be."""

    finding: Finding | None = None
    proved: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)
    signals: int = 0

    @property
    def is_honest(self) -> bool:
        """Whether nothing was found and everything was tried."""
        return self.finding is None and not self.unproved


class _Found(Exception):
    """Ends the check at the first finding."""

    def __init__(self, fault: Fault, number: int, bar: Bar, detail: str) -> None:
        self.finding = Finding(fault, number, bar.start_ns, detail)
        super().__init__(str(self.finding))


def check_honesty(
    create: Create, bars: Sequence[Bar], *, seed: int = 1, pushes: int = _PUSHES_FOR_PREFIXES
) -> HonestyReport:
    """Run an analyzer over bars (one contract and timeframe, oldest first) in all the ways that must not matter.

    Args:
        create: makes a new analyzer, always with the same parameters.
        bars: at least one; the warm start needs more than the analyzer's stated need.
        seed: of the random pieces, so that a finding can be repeated.
        pushes: how many bars to spend on prefixes.
    """
    report = HonestyReport()
    try:
        with watched() as accesses:
            whole = _whole(create, bars)
            report.signals = sum(map(len, whole))
            report.proved.append(f"{len(bars):,} bars, {report.signals:,} signals, each of the bar that triggers it")
            _repeat(create, bars, whole, report)
            _prefixes(create, bars, whole, report, pushes)
            _pieces(create, bars, whole, random.Random(seed), report)  # noqa: S311 - repeatable, not secret
            _warm_starts(create, bars, whole, report)
    except _Found as found:
        report.finding = found.finding
    if report.finding is None and accesses:
        detail = f"while running it used {accesses[0]}: its signals may know more than the bars pushed"
        report.finding = Finding(Fault.LOOK_AHEAD, 1, bars[0].start_ns, detail)
    return report


def _step(analyzer: Analyzer, bar: Bar, number: int) -> tuple[Sequence[Signal], Sequence[Signal]]:
    try:
        return analyzer.push(bar), analyzer.advance(bar.end_ns)
    except Exception as error:
        raise _Found(Fault.FAILURE, number, bar, f"it raised {error!r}") from error


def _told(step: tuple[Sequence[Signal], Sequence[Signal]]) -> Told:
    return (*map(repr, step[0]), *map(repr, step[1]))


def _run(create: Create, bars: Iterable[Bar]) -> Iterator[Told]:
    analyzer = create()
    for number, bar in enumerate(bars, 1):
        yield _told(_step(analyzer, bar, number))


def _whole(create: Create, bars: Sequence[Bar]) -> list[Told]:
    """Run over the whole file; see that signals name the bar pushed and stay as they were returned."""
    analyzer = create()
    steps = []
    whole: list[Told] = []
    for number, bar in enumerate(bars, 1):
        step = _step(analyzer, bar, number)
        for signal in (*step[0], *step[1]):
            if signal.trigger_start_ns != bar.start_ns or signal.known_at_ns != bar.end_ns:
                raise _Found(Fault.LOOK_AHEAD, number, bar, f"triggered by another bar than the one pushed: {signal!r}")
            if signal.bar_start_ns > bar.start_ns:
                raise _Found(Fault.LOOK_AHEAD, number, bar, f"marks a bar that has not been pushed yet: {signal!r}")
        steps.append(step)
        whole.append(_told(step))
    for number, (bar, step, before) in enumerate(zip(bars, steps, whole, strict=True), 1):
        if _told(step) != before:
            detail = f"what it returned was changed later, from {_shown(before)} to {_shown(_told(step))}"
            raise _Found(Fault.LOOK_AHEAD, number, bar, detail)
    return whole


def _repeat(create: Create, bars: Sequence[Bar], whole: Sequence[Told], report: HonestyReport) -> None:
    detail = "a second analyzer on the same bars says {}, the first said {}"
    _compare(_run(create, bars), bars, whole, Fault.HIDDEN_STATE, detail)
    report.proved.append("the same again by another analyzer in the same process")


def _prefixes(create: Create, bars: Sequence[Bar], whole: Sequence[Told], report: HonestyReport, pushes: int) -> None:
    count = len(bars)
    step = max(1, round(count * count / 2 / pushes))
    lengths = range(count - 1, 0, -step)
    for length in lengths:
        prefix = bars[:length]
        detail = f"on the first {length} bars alone it says {{}}, on the whole file {{}}"
        _compare(_run(create, prefix), prefix, whole, Fault.LOOK_AHEAD, detail)
    # One pass stands for all prefixes when later bars do not even exist.
    lazily = _run(create, (structs.replace(bar) for bar in bars))
    _compare(lazily, bars, whole, Fault.LOOK_AHEAD, "with no later bar in existence it says {}, otherwise {}")
    every = "every prefix" if step == 1 else f"{len(lengths):,} prefixes, and all others in one pass without later bars"
    report.proved.append(f"the same on {every}")


def _pieces(
    create: Create, bars: Sequence[Bar], whole: Sequence[Told], chance: random.Random, report: HonestyReport
) -> None:
    chances = [1.0] if len(bars) <= _BARS_CUT_EACH else []
    chances += [chance.choice((0.5, 0.1, 0.02)) for _ in range(_WAYS_TO_CUT)]
    for share in chances:
        cuts = [share == 1.0 or chance.random() < share for _ in bars]
        detail = "saved and restored before, it says {}, uninterrupted {}"
        _compare(_interrupted(create, bars, cuts), bars, whole, Fault.HIDDEN_STATE, detail)
    each = "at every bar and " if len(chances) > _WAYS_TO_CUT else ""
    report.proved.append(f"the same when saved and restored through JSON {each}in {_WAYS_TO_CUT} random ways")


def _interrupted(create: Create, bars: Sequence[Bar], cuts: Sequence[bool]) -> Iterator[Told]:
    analyzer = create()
    for number, (bar, is_cut) in enumerate(zip(bars, cuts, strict=True), 1):
        if is_cut:
            try:
                saved = json.dumps(analyzer.snapshot(), allow_nan=False)
                analyzer = create()
                analyzer.restore(json.loads(saved))
            except Exception as error:
                raise _Found(Fault.FAILURE, number, bar, f"saving and restoring raised {error!r}") from error
        yield _told(_step(analyzer, bar, number))


def _warm_starts(create: Create, bars: Sequence[Bar], whole: Sequence[Told], report: HonestyReport) -> None:
    need = create().warm_up_bars
    candidates = range(1, len(bars) - need)
    if not candidates:
        report.unproved.append(
            f"a warm start: it needs {need:,} bars and the file has {len(bars):,}; give a longer one"
        )
        return
    runs = min(len(candidates), _MOST_WARM_STARTS)
    starts = sorted({candidates[index * len(candidates) // runs] for index in range(runs)})
    for start in starts:
        until = min(len(bars), start + need + max(_BARS_AFTER_WARM_UP, need))
        told = _run(create, bars[start:until])
        for _ in range(need):
            next(told)
        detail = f"{need} bars of warm-up from bar {start + 1} on give {{}}, all bars give {{}}"
        _compare(told, bars[:until], whole, Fault.SHORT_WARM_UP, detail, first=start + need)
    report.proved.append(f"the same after a warm start of {need:,} bars at {len(starts):,} places")


def _compare(
    told: Iterator[Told], bars: Sequence[Bar], whole: Sequence[Told], fault: Fault, detail: str, first: int = 0
) -> None:
    for index, here in enumerate(told, first):
        if here != whole[index]:
            raise _Found(fault, index + 1, bars[index], detail.format(_shown(here), _shown(whole[index])))


def _shown(told: Told) -> str:
    return " and ".join(told) or "nothing"
