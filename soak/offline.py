"""What a file of trades leads to, found in one go without any program, database or interruption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from escapement import rulebook, wiring
from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.core.coordination import Coordinator
from escapement.model import Bar, Decision, HeardSignal, Timeframe, Trade
from escapement.services.plan import Run, params_text
from escapement.settings import Settings
from escapement.storage.coordination import KeptDecision

# With a memory, so that one moment weighed twice, too early or not at all shows in all that follow.
RULES: dict[str, Any] = {
    "entries": [
        {"rule": "confluence", "timeframes": ["15m", "5m"], "within": "2h"},
        {"rule": "weighted", "timeframe_weights": {"1m": 1, "5m": 2}, "threshold": 2.5, "half_life": "20m"},
    ],
    "conflict": {"rule": "reduce", "within": "1h"},
    "gates": [{"rule": "cooldown", "length": "10m"}],
    "exits": [{"rule": "opposite_signal", "timeframes": ["5m"]}],
}
Row = tuple[str, str, str, int, float, float, int, str, str]


def bars_of(trades: Sequence[Trade], contract_ids: Sequence[str], timeframes: Sequence[Timeframe]) -> list[Bar]:
    """Return the bars of trades, in order of time."""
    calendars = {each: calendar_for_contract(each) for each in contract_ids}
    stage = OHLCBarAggregator(calendars, timeframes, tolerance_ns=0)
    bars = [each for each in (*stage.push_many(trades), *stage.finish()) if isinstance(each, Bar)]
    return sorted(bars, key=lambda bar: bar.start_ns)


def decisions_of(bars: Sequence[Bar], settings: Settings) -> list[Row]:
    """Return what the settings' analyzers and rules decide of bars, all contracts together."""
    runs = wiring.analyzer_runs(settings)
    rules = wiring.coordination_rules(settings, runs)
    directions = rulebook.directions(settings.coordinator)
    decisions: dict[str, Decision] = {}
    for contract in settings.contracts:
        coordinator = Coordinator(contract.id, rules, calendar_for_contract(contract.id, contract.calendar))
        for heard in _heard(contract.id, runs, directions, bars):
            coordinator.push(heard)
        for remark in coordinator.advance(max((bar.end_ns for bar in bars), default=0)):
            if remark.decision is not None:
                decisions[remark.decision.decision_id] = remark.decision
    return sorted(map(row, decisions.values()))


def _heard(
    contract_id: str, runs: Sequence[Run], directions: Mapping[str, int], bars: Sequence[Bar]
) -> Iterator[HeardSignal]:
    for run in runs:
        for timeframe, params in run.params.items():
            machine = run.plugin.create(params)
            for bar in bars:
                if (bar.contract_id, bar.timeframe) == (contract_id, timeframe):
                    for said in (*machine.push(bar), *machine.advance(bar.end_ns)):
                        direction = directions.get(said.signal_type, 0)
                        yield HeardSignal(said, run.plugin.version, params_text(params), bar.close, direction)


def row(decision: Decision | KeptDecision) -> Row:
    """Return a decision in a form that compares."""
    return (
        decision.contract_id, decision.decision_id, str(decision.action), decision.direction, decision.confidence,
        decision.price, decision.known_at_ns, decision.rule, decision.words,
    )  # fmt: skip
