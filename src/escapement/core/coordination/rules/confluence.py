"""Several timeframes agree.

A timeframe agrees when what was said there last says the direction and is not older than ``within_ns``.

| timeframes that agree     | one of them spoke at this moment | wish          |
|---------------------------|----------------------------------|---------------|
| at least ``need``         | yes                              | the direction |
| at least ``need``         | no                               | none          |
| fewer                     | either                           | none          |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from escapement.core.coordination.view import Told, Verdict, View
from escapement.core.coordination.voices import Scope
from escapement.core.coordination.words import direction_name, listed, span
from escapement.errors import InvalidInput
from escapement.model import Timeframe


@dataclass(frozen=True)
class Confluence:
    """At least ``need`` of ``timeframes`` say the same; ``within_ns`` None lets a statement hold until the next.

    Confidence is the share of the timeframes that agree.

    Raises:
        InvalidInput: no timeframes, or ``need`` is not among 1 to their number.
    """

    timeframes: tuple[Timeframe, ...]
    need: int
    within_ns: int | None = None
    analyzers: tuple[str, ...] = ()

    name: ClassVar[str] = "confluence"

    def __post_init__(self) -> None:
        if not self.timeframes:
            raise InvalidInput("timeframes is empty; name those that have to agree, such as [1h, 15m]")
        if not 1 <= self.need <= len(self.timeframes):
            raise InvalidInput(
                f"need {self.need} of {len(self.timeframes)} timeframes is impossible; use all, or 1 to "
                f"{len(self.timeframes)}"
            )

    @cached_property
    def scope(self) -> Scope:
        """As the protocol says."""
        return Scope(self.timeframes, self.analyzers)

    def propose(self, view: View, direction: int) -> Verdict:
        """As the protocol says."""
        agreeing, others, because = view.sides(self.timeframes, self.analyzers, self.within_ns, direction)
        is_fresh = any(voice.since_ns == view.at_ns for voice in because)

        def tell() -> Told:
            wish = direction_name(direction)
            within = "" if self.within_ns is None else f" within {span(self.within_ns)}"
            values = {
                "direction": wish,
                "agree": [str(each) for each in agreeing],
                "do_not": [str(each) for each in others],
                "agreeing": len(agreeing),
                "need": self.need,
                "of": len(self.timeframes),
                "within": None if self.within_ns is None else span(self.within_ns),
                "fresh": is_fresh,
            }
            words = (
                f"{len(agreeing)} of {len(self.timeframes)} timeframes say {wish}{within}, {self.need} needed "
                f"(agree: {listed(agreeing)}; not: {listed(others)})"
            )
            if len(agreeing) >= self.need and not is_fresh:
                words += ", but none of those that agree spoke now"
            return words, values

        stands = len(agreeing) >= self.need and is_fresh
        share = len(agreeing) / len(self.timeframes)
        return Verdict(self.name, tell, stands=stands, confidence=share, because=tuple(because))
