"""Reading on where an analyzer stood: stored bars in, signals and where it stands now out.

What an instance has read is told by how many bars it read and by the sum of their revisions: a stored bar's revision is
only ever raised, so that both together tell a bar that was revised or came in behind from those that were read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from escapement.core.analysis.analyzer import Analyzer
from escapement.errors import AnalyzerFault, InvalidInput
from escapement.model import Bar, Signal, Timeframe
from escapement.moments import iso_from_ns


@dataclass(frozen=True, slots=True)
class AnalyzerKey:
    """What an instance is: an analyzer of one version with one set of parameters on one contract and timeframe.

    ``params`` is JSON with sorted names. Saved states say nothing of parameters, so the key has to.
    """

    analyzer: str
    version: int
    params: str
    contract_id: str
    timeframe: Timeframe


@dataclass(frozen=True, slots=True)
class StoredBar:
    """A bar and how often it was revised before it was read."""

    bar: Bar
    revision: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an instance stands.

    ``at_ns`` is the label of the bar read last (``Bar.start_ns``), None before the first; ``bars`` is how many were
    read and ``revisions`` the sum of their revisions; ``state`` is the analyzer's snapshot as JSON, None before the
    first bar.
    """

    at_ns: int | None = None
    bars: int = 0
    revisions: int = 0
    state: str | None = None


@dataclass(frozen=True, slots=True)
class FoundSignal:
    """A signal, and whether the bar that revealed it was whole."""

    signal: Signal
    trigger_whole: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading on: signals in the order in which they became known, and where the analyzer stands."""

    signals: tuple[FoundSignal, ...]
    progress: Progress
    checkpoints: tuple[Progress, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as it is stored.

    ``first_ns`` is the label of the earliest bar it ever read, None before the first. ``step`` counts what was
    committed; who commits must name it. ``fault`` says why the instance stands still.
    """

    instance_id: int
    key: AnalyzerKey
    progress: Progress = Progress()
    first_ns: int | None = None
    step: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Advance:
    """What is to be committed of an instance: the signals of ``reading`` take the place of those stored before.

    ``first_ns`` is the label of the first bar that was read. Signals triggered up to ``judged_after_ns`` stay as they
    are stored: the stretch begins after it, or the analyzer was warming up. None where nothing comes before.
    """

    instance: Instance
    reading: Reading
    first_ns: int
    judged_after_ns: int | None


def read_on(machine: Analyzer, since: Progress, bars: Sequence[StoredBar], checkpoint_bars: int) -> Reading:
    """Push bars into an analyzer that stands at ``since``; its time advances to the end of each.

    Args:
        machine: it has read the bars up to ``since``; after an error it has to be made anew.
        since: where it stands.
        bars: the next ones, oldest first, at least one.
        checkpoint_bars: after each multiple of so many bars where it stands is kept.

    Raises:
        AnalyzerFault: the analyzer raised, or returned what its protocol does not allow.
    """
    signals: list[FoundSignal] = []
    checkpoints: list[Progress] = []
    count, revisions = since.bars, since.revisions
    for stored in bars:
        bar = stored.bar
        try:
            found = (*machine.push(bar), *machine.advance(bar.end_ns))
        except Exception as error:
            raise AnalyzerFault(
                f"{machine.name} raised at the bar of {iso_from_ns(bar.start_ns)}: {error!r}"
            ) from error
        for signal in found:
            check_signal(machine, bar, signal)
            signals.append(FoundSignal(signal, bar.whole))
        count += 1
        revisions += stored.revision
        if count % checkpoint_bars == 0:
            checkpoints.append(Progress(bar.start_ns, count, revisions, _saved(machine)))
    return Reading(
        tuple(signals), Progress(bars[-1].bar.start_ns, count, revisions, _saved(machine)), tuple(checkpoints)
    )


def restore(machine: Analyzer, progress: Progress) -> None:
    """Let a fresh analyzer stand where ``progress`` says.

    Raises:
        InvalidInput: the state cannot be read; the bars have to be read again.
    """
    if progress.at_ns is None:
        return
    try:
        state = json.loads(progress.state or "")
        machine.restore(state)
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(f"saved state of {machine.name} is spoilt ({error!r}); do without it") from error


def _saved(machine: Analyzer) -> str:
    try:
        return json.dumps(machine.snapshot(), allow_nan=False, separators=(",", ":"))
    except Exception as error:
        raise AnalyzerFault(f"{machine.name}: its snapshot is no plain JSON data: {error!r}") from error


def check_signal(machine: Analyzer, bar: Bar, signal: Signal) -> None:
    """Refuse a signal that names another bar than the one just read, or could not be stored.

    Raises:
        AnalyzerFault: it does.
    """
    fault = _fault_of(bar, signal)
    if fault:
        raise AnalyzerFault(f"{machine.name}: signal at the bar of {iso_from_ns(bar.start_ns)} {fault}")


def _fault_of(bar: Bar, signal: object) -> str:
    """Say what is wrong with a signal; nothing if it is sound."""
    if not isinstance(signal, Signal):
        return f"is {signal!r}, no Signal"
    expected = bar.contract_id, bar.timeframe, bar.start_ns, bar.end_ns
    if (signal.contract_id, signal.timeframe, signal.trigger_start_ns, signal.known_at_ns) != expected:
        return "has another contract, timeframe, trigger_start_ns or known_at_ns than that bar"
    if not 0 <= signal.bar_start_ns <= bar.start_ns:
        return f"marks a bar of {signal.bar_start_ns}, which is not among those read"
    price: object = signal.price
    if not isinstance(price, (float, int)) or not math.isfinite(price):
        return f"has the price {price!r}; use a finite number"
    texts: tuple[object, ...] = (signal.signal_type, signal.rule)
    for text in texts:
        if not isinstance(text, str) or not text.isprintable():
            return f"has the signal_type or rule {text!r}; use printable text"
    return ""
