"""What goes wrong at the simulated venue, when, and how often: seeded, so that it goes wrong the same way again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND

KINDS = {
    "missed_trades": "a batch of trades is never sent",
    "duplicated_trades": "a batch of trades is sent twice",
    "late_trades": "a batch of trades is sent when the venue's clock is `seconds` on",
    "reordered_trades": "the trades of a batch arrive in reverse order; a single one after the next batch",
    "null_padding": "null entries stand among the trades of a batch",
    "malformed_record": "a broken record is sent before a batch",
    "oversized_record": "a depth record of `size` bytes is sent before a batch",
    "freeze": "open hub connections fall silent, for `seconds` of real time or for good; `pings` go on if wanted",
    "disconnect": "hub connections are closed with leave to come back",
    "disconnect_for_good": "hub connections are closed without leave to come back",
    "reset": "hub connections are reset",
    "unauthorized_hub": "a hub connection is refused with 401",
    "expired_tokens": "all tokens given out so far are refused with 401",
    "rate_limited": "a REST call is answered 429",
    "slow_rest": "a REST call is answered `seconds` late",
    "hanging_rest": "a REST call is never answered",
    "unavailable_rest": "a REST call is answered 503",
    "refused": "a REST call is refused with `code` and `message`",
    "lost_answer": "a REST call is carried out and its answer lost",
    "cut_before_bracket": "user hub connections go dead after the fill of an entry, before its bracket legs are told",
    "voided_trade": "the newest half-turn trade is voided",
    "missing_bar": "history lacks a bar for good",
    "wrong_partial_bar": "the newest bar of an answer lacks half its trades",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    It can strike from ``after_s`` venue seconds on after the replay's first trade, at each opportunity (a batch, a
    call, a moment) with ``probability``, ``count`` times in all. ``contract_id``, ``endpoint`` (such as
    ``Order/place``) and ``hub`` (``market`` or ``user``) narrow it down.

    Raises:
        InvalidInput: a value is impossible.
    """

    kind: str
    after_s: float = 0.0
    count: int = 1
    probability: float = 1.0
    contract_id: str | None = None
    endpoint: str | None = None
    hub: str | None = None
    seconds: float | None = None
    pings: bool = False
    size: int = 2_000_000
    code: int = 2
    message: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInput(f"fault {self.kind!r} is unknown; use one of {', '.join(KINDS)}")
        if not 0 < self.probability <= 1:
            raise InvalidInput(f"fault {self.kind}: probability {self.probability} is not above 0 and at most 1")
        if self.count < 1:
            raise InvalidInput(f"fault {self.kind}: count {self.count} is below 1")
        if self.hub not in {None, "market", "user"}:
            raise InvalidInput(f"fault {self.kind}: hub {self.hub!r} is unknown; use market or user")


class FaultPlan:
    """The faults still to come.

    Args:
        faults: what can go wrong.
        seed: of the chances.
        begin_ns: what ``after_s`` counts from, venue time in nanoseconds UTC.
    """

    def __init__(self, faults: Sequence[Fault], seed: int, begin_ns: int) -> None:
        self._seed = seed
        self._begin_ns = begin_ns
        self._armed: list[_Armed] = []
        self.struck: Counter[str] = Counter()
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault, *, from_ns: int | None = None) -> None:
        """Arm another fault; its ``after_s`` counts from ``from_ns`` where that is given."""
        chance = random.Random(f"{self._seed} {len(self._armed)} {fault.kind}")  # noqa: S311 - repeatable on purpose
        begin_ns = self._begin_ns if from_ns is None else from_ns
        # One that waits for nothing can strike before the first trade too.
        strikes_from_ns = begin_ns + round(fault.after_s * NS_PER_SECOND) if fault.after_s else 0
        self._armed.append(_Armed(fault, strikes_from_ns, fault.count, chance))

    def strikes(self, now_ns: int, *kinds: str, contract_id: str | None = None, endpoint: str | None = None,
                hub: str | None = None) -> list[Fault]:  # fmt: skip
        """Return which faults of these kinds strike at this opportunity, each counted as having struck."""
        struck = []
        for armed in self._armed:
            fault = armed.fault
            if (
                armed.left
                and fault.kind in kinds
                and now_ns >= armed.from_ns
                and (fault.contract_id is None or contract_id is None or fault.contract_id == contract_id)
                and (fault.endpoint is None or endpoint is None or fault.endpoint.lower() == endpoint)
                and (fault.hub is None or hub is None or fault.hub == hub)
                and (fault.probability == 1 or armed.chance.random() < fault.probability)
            ):
                armed.left -= 1
                self.struck[fault.kind] += 1
                struck.append(fault)
        return struck

    @property
    def is_idle(self) -> bool:
        """Whether nothing can go wrong any more."""
        return not any(armed.left for armed in self._armed)

    def choice(self, count: int) -> int:
        """Return a seeded choice below ``count``."""
        return random.Random(f"{self._seed} {sum(self.struck.values())}").randrange(count)  # noqa: S311 - repeatable


@dataclass(slots=True)
class _Armed:
    fault: Fault
    from_ns: int
    left: int
    chance: random.Random
