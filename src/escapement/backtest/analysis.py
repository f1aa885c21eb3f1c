"""Bars of the past to signals, and signals to decisions, by the analyzers and the coordinator that run live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from escapement.core.analysis import Analyzer, AnalyzerKey, check_signal
from escapement.core.coordination import Coordinator, Rules
from escapement.errors import AnalyzerFault
from escapement.model import Bar, Decision, HeardSignal, SessionCalendar
from escapement.moments import iso_from_ns


@dataclass(frozen=True, slots=True)
class Reader:
    """An analyzer that reads one contract and timeframe: what it is, how it is made, and with which parameters."""

    key: AnalyzerKey
    create: Callable[[], Analyzer]
    params: object = None


def heard(reader: Reader, bars: Iterable[Bar], directions: Mapping[str, int], from_ns: int) -> list[HeardSignal]:
    """Return the signals of an analyzer that became known after ``from_ns``; bars before it only warm it up.

    Args:
        reader: the analyzer.
        bars: its completed bars, oldest first.
        directions: what each type of signal says.
        from_ns: nanoseconds UTC.

    Raises:
        AnalyzerFault: it raised, or returned what cannot be.
    """
    machine, key, found = reader.create(), reader.key, []
    push, advance = machine.push, machine.advance
    for bar in bars:
        try:
            signals = [*push(bar), *advance(bar.end_ns)]
        except Exception as error:
            raise AnalyzerFault(
                f"{key.analyzer} raised at the bar of {iso_from_ns(bar.start_ns)}: {error!r}"
            ) from error
        for signal in signals:
            check_signal(machine, bar, signal)
            if signal.known_at_ns > from_ns:
                direction = directions.get(signal.signal_type, 0)
                found.append(HeardSignal(signal, key.version, key.params, bar.close, direction))
    return found


def decided(
    contract_id: str, rules: Rules, calendar: SessionCalendar, signals: Iterable[HeardSignal]
) -> list[Decision]:
    """Return what the coordinator decides of one contract's signals."""
    coordinator = Coordinator(contract_id, rules, calendar)
    decisions: dict[str, Decision] = {}
    ordered = sorted(signals, key=_known_at)
    for at_ns, moment in groupby(ordered, key=_known_at):
        for each in moment:
            coordinator.push(each)
        for remark in coordinator.advance(at_ns):
            if remark.decision is not None:
                decisions[remark.decision.decision_id] = remark.decision
    return list(decisions.values())


def in_order(decisions: Iterable[Sequence[Decision]]) -> list[Decision]:
    """Return the decisions of several contracts in the order in which they were taken."""
    return sorted((each for one in decisions for each in one), key=lambda each: (each.known_at_ns, each.contract_id))


def _known_at(heard_signal: HeardSignal) -> int:
    return heard_signal.signal.known_at_ns
