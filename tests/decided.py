"""What tests of coordination share: the decisions that bars lead to, found without any database or service."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from escapement.analyzers import find_analyzer
from escapement.calendars import calendar_for_contract
from escapement.core.analysis import AnalyzerKey
from escapement.core.coordination import Coordinator, Rules
from escapement.model import Bar, Decision, HeardSignal
from escapement.storage.coordination import KeptDecision

DIRECTIONS = {
    "uptrendStart": 1, "downtrendStart": -1, "crossAbove": 1, "crossBelow": -1, "breakoutUp": 1, "breakoutDown": -1,
}  # fmt: skip
Row = tuple[str, str, str, int, float, float, int, str, str]


def heard(bars: Iterable[Bar], keys: Iterable[AnalyzerKey]) -> list[HeardSignal]:
    """What each analyzer says of the bars, with the close of the bar that reveals it."""
    by_start = sorted(bars, key=lambda bar: bar.start_ns)
    found = []
    for key in keys:
        plugin = find_analyzer(key.analyzer)
        machine = plugin.create(plugin.params(json.loads(key.params)))
        for bar in by_start:
            if (bar.contract_id, bar.timeframe) == (key.contract_id, key.timeframe):
                found += [
                    HeardSignal(each, key.version, key.params, bar.close, DIRECTIONS.get(each.signal_type, 0))
                    for each in (*machine.push(bar), *machine.advance(bar.end_ns))
                ]
    return found


def expected(bars: Iterable[Bar], keys: Sequence[AnalyzerKey], rules: Rules) -> list[Row]:
    """The decisions of all contracts, from reading the bars once in one go."""
    signals = heard(bars, keys)
    decisions: dict[str, Decision] = {}
    for contract_id in {key.contract_id for key in keys}:
        coordinator = Coordinator(contract_id, rules, calendar_for_contract(contract_id, "cme_equity"))
        mine = [each for each in signals if each.signal.contract_id == contract_id]
        for each in mine:
            coordinator.push(each)
        for remark in coordinator.advance(max((each.signal.known_at_ns for each in mine), default=0)):
            if remark.decision is not None:
                decisions[remark.decision.decision_id] = remark.decision
    return sorted(map(row, decisions.values()))


def row(decision: Decision | KeptDecision) -> Row:
    """A decision in a form that compares."""
    return (
        decision.contract_id, decision.decision_id, str(decision.action), decision.direction, decision.confidence,
        decision.price, decision.known_at_ns, decision.rule, decision.words,
    )  # fmt: skip
