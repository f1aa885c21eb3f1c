"""Where what was done live differs from what a backtest of the same time does, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from escapement.backtest.figures import closed_trades
from escapement.backtest.run import Outcome
from escapement.core.execution import Role, decision_of, role_of
from escapement.model import OrderSide, OrderStatus, SignalIdentity

_KEY = 16  # so much of a decision's id stands in the tag of its orders
_DATA = {"data_incomplete"}
_TIMING = {"decision_stale", "price_stale"}
_MANUAL = {"foreign_position"}


class Cause(StrEnum):
    """Why live and backtest differ."""

    DATA = "data"  # the bars of then were not those of now
    TIMING = "timing"  # it came too late, or a service did not run
    FILL = "fill"  # it was filled elsewhere than estimated
    REFUSAL = "refusal"  # risk or the venue let one of them do less
    MANUAL = "manual act"  # somebody stopped trading, or traded beside it
    UNEXPLAINED = "unexplained"  # settings that have changed, or a fault


@dataclass(frozen=True, slots=True)
class LiveSignal:
    """A stored signal. ``holds``: it was not superseded; ``whole``: its bar was."""

    contract_id: str
    identity: SignalIdentity
    known_at_ns: int
    words: str
    holds: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class LiveDecision:
    """A stored decision."""

    decision_id: str
    contract_id: str
    known_at_ns: int
    words: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a decision's entry.

    ``size`` is negative when sold, 0 when nothing was filled; ``price`` in points. ``code`` and ``words``: of the
    refusal, if it was refused. ``ticks`` were made with it, None while it is open; ``exit`` is what closed it.
    """

    size: int = 0
    price: float | None = None
    code: str = ""
    words: str = ""
    ticks: int | None = None
    exit: str = ""

    def __str__(self) -> str:
        if self.code:
            return f"refused: {self.code}"
        if not self.size:
            return "nothing filled"
        made = "open" if self.ticks is None else f"{self.exit} {self.ticks:+} ticks"
        return f"{self.size:+} at {self.price:.15g}, {made}"


@dataclass(frozen=True, slots=True)
class Live:
    """What was recorded of a stretch of time; entries by the first characters of their decision's id."""

    signals: Sequence[LiveSignal]
    decisions: Sequence[LiveDecision]
    entries: Mapping[str, Taken]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that differs; ``live`` and ``backtest`` say how, empty where it is not."""

    kind: str
    at_ns: int
    contract_id: str
    subject: str
    live: str
    backtest: str
    cause: Cause
    words: str


@dataclass(slots=True)
class Comparison:
    """How much was compared, by kind, and what differs, in order of time."""

    compared: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)


def compare(live: Live, outcome: Outcome, from_ns: int, to_ns: int) -> Comparison:
    """Compare what was known in ``[from_ns, to_ns)``, nanoseconds UTC; ``outcome`` may cover more."""
    found = Comparison()
    unlike = _signals(live.signals, outcome, from_ns, to_ns, found)
    _decisions(live.decisions, outcome, from_ns, to_ns, unlike, found)
    _entries(live, outcome, from_ns, to_ns, found)
    found.differences.sort(key=lambda each: (each.at_ns, each.contract_id, each.kind))
    return found


def taken_of(outcome: Outcome) -> dict[str, Taken]:
    """Return what became of each decision's entry in a backtest, as ``Live.entries``."""
    tags = {each.order_id: each.custom_tag for each in outcome.orders}
    ticks: dict[str, int] = {}
    exits: dict[str, str] = {}
    for each in closed_trades(outcome):
        key = decision_of(tags.get(each.trip.entry_order_id)) or ""
        ticks[key] = ticks.get(key, 0) + each.trip.ticks
        exits[key] = each.exit
    found = {each.decision_id[:_KEY]: Taken(code=each.check.code, words=each.check.words) for each in outcome.refusals}
    for order in outcome.orders:
        key = decision_of(order.custom_tag) or ""
        if role_of(order.custom_tag) is Role.ENTRY:
            sign = 1 if order.side is OrderSide.BUY else -1
            is_rejected = order.status is OrderStatus.REJECTED
            found[key] = Taken(
                sign * order.filled_size, order.filled_price, "rejected" if is_rejected else "", "",
                ticks.get(key), exits.get(key, ""),
            )  # fmt: skip
    return found


def _signals(
    live: Sequence[LiveSignal], outcome: Outcome, from_ns: int, to_ns: int, found: Comparison
) -> dict[str, int]:
    """Compare signals; return by contract when the first difference is."""
    ours = {
        (each.signal.contract_id, each.identity): each for each in outcome.signals
        if from_ns <= each.signal.known_at_ns < to_ns
    }  # fmt: skip
    theirs = {(each.contract_id, each.identity): each for each in live if from_ns <= each.known_at_ns < to_ns}
    held = {key: each for key, each in theirs.items() if each.holds}
    found.compared["signals"] = len(ours.keys() | held.keys())
    first: dict[str, int] = {}
    # A superseded signal was believed at its time, though it is in no comparison of what holds now.
    for key, each in theirs.items():
        if key in ours and each.holds:
            continue
        _first(first, each.contract_id, each.known_at_ns)
        if key in ours:
            continue
        cause, words = Cause.UNEXPLAINED, "the backtest does not find it; were the analyzer's settings others?"
        if not each.holds:
            cause, words = Cause.DATA, "bars were revised after it was found"
        elif not each.whole:
            cause, words = Cause.DATA, "the bar that revealed it was not whole"
        found.differences.append(
            Difference("signal", each.known_at_ns, each.contract_id, each.words, "said", "", cause, words)
        )
    revised = {(each.contract_id, each.identity[0], each.identity[1]) for each in live if not each.holds}
    for key, heard in ours.items():
        if key in theirs:
            continue
        signal = heard.signal
        _first(first, signal.contract_id, signal.known_at_ns)
        is_revised = (signal.contract_id, heard.identity[0], heard.identity[1]) in revised
        found.differences.append(
            Difference(
                "signal", signal.known_at_ns, signal.contract_id,
                f"{signal.signal_type} of {signal.analyzer} on {signal.timeframe}", "", "said",
                Cause.DATA if is_revised else Cause.UNEXPLAINED,
                "bars of this analyzer were revised" if is_revised
                else "it is not stored; did the analyzer run, with these settings?",
            )
        )  # fmt: skip
    return first


def _decisions(
    live: Sequence[LiveDecision], outcome: Outcome, from_ns: int, to_ns: int, unlike: Mapping[str, int],
    found: Comparison,
) -> None:  # fmt: skip
    ours = {each.decision_id: each for each in outcome.decisions if from_ns <= each.known_at_ns < to_ns}
    theirs = {each.decision_id: each for each in live if from_ns <= each.known_at_ns < to_ns}
    found.compared["decisions"] = len(ours.keys() | theirs.keys())
    for decision_id in ours.keys() ^ theirs.keys():
        is_live = decision_id in theirs
        each = theirs[decision_id] if is_live else ours[decision_id]
        cause, words = Cause.TIMING, "its signals came too late, or the coordinator did not run, or had other rules"
        if unlike.get(each.contract_id, each.known_at_ns + 1) <= each.known_at_ns:
            cause, words = Cause.DATA, "signals up to it differ"
        elif is_live and not theirs[decision_id].complete:
            cause, words = Cause.DATA, "it was taken on data not known to be complete"
        found.differences.append(
            Difference(
                "decision", each.known_at_ns, each.contract_id, decision_id[:_KEY], each.words if is_live else "",
                "" if is_live else each.words, cause, words,
            )
        )  # fmt: skip


def _entries(live: Live, outcome: Outcome, from_ns: int, to_ns: int, found: Comparison) -> None:
    """Compare what became of decisions that both took."""
    ours = taken_of(outcome)
    both = {each.decision_id for each in live.decisions} & {each.decision_id for each in outcome.decisions}
    if not live.entries:
        return  # nothing was ever traded
    found.compared["entries"] = 0
    for decision in outcome.decisions:
        key = decision.decision_id[:_KEY]
        if decision.decision_id not in both or not from_ns <= decision.known_at_ns < to_ns:
            continue
        here, there = live.entries.get(key, Taken()), ours.get(key, Taken())
        if here == Taken() and there == Taken():
            continue
        found.compared["entries"] += 1
        told = _unlike(here, there)
        if told is not None:
            found.differences.append(
                Difference("entry", decision.known_at_ns, decision.contract_id, key, str(here), str(there), *told)
            )


def _unlike(here: Taken, there: Taken) -> tuple[Cause, str] | None:
    if here.code or there.code:
        return None if here.code == there.code else _refused(here, there)
    if bool(here.size) != bool(there.size):
        return Cause.TIMING, "no order was filled live" if there.size else "the backtest filled no order"
    if here.size != there.size:
        return Cause.REFUSAL, "risk allowed another size"
    if here.exit == Role.FOREIGN:
        return Cause.MANUAL, "it was closed by somebody else"
    if (here.price, here.ticks, here.exit) != (there.price, there.ticks, there.exit):
        return Cause.FILL, "the estimate of the fills differs"
    return None


def _refused(here: Taken, there: Taken) -> tuple[Cause, str]:
    if here.code == "blocked" and here.words.startswith("trading was stopped"):
        return Cause.MANUAL, here.words
    for codes, cause in ((_DATA, Cause.DATA), (_TIMING, Cause.TIMING), (_MANUAL, Cause.MANUAL)):
        if here.code in codes:
            return cause, here.words
    refused = here if here.code else there
    return Cause.REFUSAL, refused.words or refused.code


def _first(first: dict[str, int], contract_id: str, at_ns: int) -> None:
    first[contract_id] = min(at_ns, first.get(contract_id, at_ns))


def by_cause(differences: Iterable[Difference]) -> dict[str, int]:
    """Return how many differences each cause has, the most frequent first."""
    counts: dict[str, int] = {}
    for each in differences:
        counts[str(each.cause)] = counts.get(str(each.cause), 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
