"""Larger timeframes permit a direction, smaller ones time the entry.

| strategic timeframes that say the direction | said on a tactical timeframe at this moment | wish          |
|---------------------------------------------|---------------------------------------------|---------------|
| at least ``need``                           | yes                                         | the direction |
| at least ``need``                           | no                                          | none          |
| fewer                                       | either                                      | none          |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from escapement.core.coordination.view import Sides, Told, Verdict, View, statement
from escapement.core.coordination.voices import Scope
from escapement.core.coordination.words import direction_name, listed, span
from escapement.errors import InvalidInput
from escapement.model import Timeframe


@dataclass(frozen=True)
class StrategicTactical:
    """``need`` of the ``strategic`` timeframes permit what the ``tactical`` ones say; ``within_ns`` ages permissions.

    Confidence is the share of the strategic timeframes that permit.

    Raises:
        InvalidInput: a side is empty, a tactical timeframe is not below all strategic ones, or ``need`` is impossible.
    """

    strategic: tuple[Timeframe, ...]
    tactical: tuple[Timeframe, ...]
    need: int
    within_ns: int | None = None
    analyzers: tuple[str, ...] = ()

    name: ClassVar[str] = "strategic_tactical"

    def __post_init__(self) -> None:
        for side, timeframes in (("strategic", self.strategic), ("tactical", self.tactical)):
            if not timeframes:
                raise InvalidInput(f"{side} is empty; name at least one timeframe")
        if max(self.tactical) >= min(self.strategic):
            raise InvalidInput(
                f"tactical {max(self.tactical)} is not smaller than strategic {min(self.strategic)}; "
                "let the larger timeframes be the strategic ones"
            )
        if not 1 <= self.need <= len(self.strategic):
            raise InvalidInput(
                f"need {self.need} of {len(self.strategic)} strategic timeframes is impossible; use all, or 1 to "
                f"{len(self.strategic)}"
            )

    @cached_property
    def scope(self) -> Scope:
        """As the protocol says."""
        return Scope(self.tactical, self.analyzers)

    def propose(self, view: View, direction: int) -> Verdict:
        """As the protocol says."""
        fresh = view.fresh(self.scope, direction)

        def tell() -> Told:
            permitting, others, _ = self._sides(view, direction)
            wish = direction_name(direction)
            within = "" if self.within_ns is None else f" within {span(self.within_ns)}"
            values = {
                "direction": wish,
                "permit": [str(each) for each in permitting],
                "do_not": [str(each) for each in others],
                "permitting": len(permitting),
                "need": self.need,
                "of": len(self.strategic),
                "within": None if self.within_ns is None else span(self.within_ns),
                "tactical": [str(voice.timeframe) for voice in fresh],
            }
            timed = f"{statement(fresh)} times it" if fresh else f"nothing on {listed(self.tactical)} says {wish} now"
            words = (
                f"{len(permitting)} of {len(self.strategic)} strategic timeframes permit {wish}{within}, {self.need} "
                f"needed (permit: {listed(permitting)}; not: {listed(others)}), and {timed}"
            )
            return words, values

        if not fresh:  # whatever is permitted
            return Verdict(self.name, tell, stands=False)
        permitting, _, because = self._sides(view, direction)
        stands, share = len(permitting) >= self.need, len(permitting) / len(self.strategic)
        return Verdict(self.name, tell, stands=stands, confidence=share, because=(*because, *fresh))

    def _sides(self, view: View, direction: int) -> Sides:
        return view.sides(self.strategic, self.analyzers, self.within_ns, direction)
