"""The coordinator's rules from its settings, refused when they speak of analyzers or timeframes that do not run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from escapement.core.coordination import Rules
from escapement.core.coordination.rules import Confluence, StrategicTactical, Weighted
from escapement.errors import ConfigurationError
from escapement.model import LONG, SHORT, Timeframe
from escapement.settings import CoordinatorSettings

_DIRECTIONS = {"long": LONG, "short": SHORT}


@dataclass(frozen=True, slots=True)
class Running:
    """An analyzer that runs: its name as its signals carry it, and on which timeframes."""

    analyzer: str
    timeframes: frozenset[Timeframe]


def directions(settings: CoordinatorSettings) -> dict[str, int]:
    """Return what each type of signal says: LONG or SHORT."""
    return {name: _DIRECTIONS[said] for name, said in settings.directions.items()}


def rules(settings: CoordinatorSettings, running: Sequence[Running]) -> Rules:
    """Return what a coordinator goes by.

    Raises:
        ConfigurationError: a rule listens to what does not run, or can never be met; a line for each.
    """
    faults: list[str] = []
    entries = [each.made() for each in settings.entries]
    exits = [each.made() for each in settings.exits]
    conflict = settings.conflict.made()
    for section, made in (("entries", entries), ("exits", exits)):
        for place, rule in enumerate(made):
            faults += _faults(f"coordinator.{section}.{place}", rule, running)
    faults += _faults("coordinator.conflict", conflict, running)
    if faults:
        raise ConfigurationError("\n".join(dict.fromkeys(faults)))
    return Rules(
        settings.name, tuple(entries), conflict, tuple(each.made() for each in settings.gates), tuple(exits),
        settings.reverse,
    )  # fmt: skip


def _faults(at: str, rule: object, running: Sequence[Running]) -> Iterator[str]:
    analyzers: Iterable[str] = getattr(rule, "analyzers", ())
    if isinstance(rule, Weighted):
        analyzers = rule.analyzer_weights
    field = "analyzer_weights" if isinstance(rule, Weighted) else "analyzers"
    unknown = list(_unknown_analyzers(f"{at}.{field}", analyzers, running))
    if unknown:
        yield from unknown
        return
    # Weights of some analyzers do not keep the others from voting.
    listened = [] if isinstance(rule, Weighted) else list(analyzers)
    heard = {each for run in running if not listened or run.analyzer in listened for each in run.timeframes}
    for name, timeframes in _timeframes(rule).items():
        for timeframe in timeframes:
            if timeframe not in heard:
                by = f" of {', '.join(listened)}" if listened else ""
                known = ", ".join(map(str, sorted(heard))) or "none"
                yield (
                    f"{at}.{name} {timeframe}: no analyzer{by} runs on it (they run on {known}); "
                    "add it to timeframes and to that analyzer's, or leave it out here"
                )
    if isinstance(rule, Weighted):
        most = math.fsum(rule.weight(timeframe, run.analyzer) for run in running for timeframe in run.timeframes)
        if rule.threshold > most:
            yield (
                f"{at}.threshold {rule.threshold:g} is impossible: all analyzers that run and have a weight reach "
                f"{most:g} together; use less, or raise the weights"
            )


def _unknown_analyzers(at: str, names: Iterable[str], running: Sequence[Running]) -> Iterator[str]:
    known = sorted({run.analyzer for run in running})
    for name in names:
        if name not in known:
            yield f"{at} {name!r} does not run ({', '.join(known) or 'none does'}); add it to analyzers.run"


def _timeframes(rule: object) -> Mapping[str, Iterable[Timeframe]]:
    if isinstance(rule, Weighted):
        return {"timeframe_weights": rule.timeframe_weights}
    if isinstance(rule, StrategicTactical):
        return {"strategic": rule.strategic, "tactical": rule.tactical}
    if isinstance(rule, Confluence):
        return {"timeframes": rule.timeframes}
    return {"timeframes": getattr(rule, "timeframes", ())}
