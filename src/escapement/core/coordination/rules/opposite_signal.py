"""Out of a position when something says the opposite.

| position | said at this moment by a voice listened to | decision |
|----------|--------------------------------------------|----------|
| long     | short                                      | exit     |
| short    | long                                       | exit     |
| any      | otherwise                                  | none     |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from escapement.core.coordination.view import Told, Verdict, View, statement
from escapement.core.coordination.voices import Scope
from escapement.core.coordination.words import direction_name, listed
from escapement.model import FLAT, Timeframe


@dataclass(frozen=True)
class OppositeSignal:
    """Ends a position on a signal against it of ``timeframes`` and ``analyzers``; empty stands for all."""

    timeframes: tuple[Timeframe, ...] = ()
    analyzers: tuple[str, ...] = ()

    name: ClassVar[str] = "opposite_signal"

    @cached_property
    def scope(self) -> Scope:
        """As the protocol says."""
        return Scope(self.timeframes, self.analyzers)

    def propose(self, view: View, direction: int) -> Verdict:
        """Say whether signals of this moment that say ``direction`` end the position."""
        is_opposed = view.position not in {FLAT, direction}
        because = tuple(view.fresh(self.scope, direction)) if is_opposed else ()

        def tell() -> Told:
            fresh = view.fresh(self.scope, direction)
            said, position = direction_name(direction), direction_name(view.position)
            values = {
                "direction": said, "position": position, "signals": len(fresh),
                "timeframes": [str(each) for each in self.timeframes], "analyzers": list(self.analyzers),
            }  # fmt: skip
            if not is_opposed:
                return f"the position is {position}, {said} does not oppose it", values
            if not fresh:
                listening = listed(self.timeframes) if self.timeframes else "all timeframes"
                return f"it listens to {listening}, where nothing says {said} now", values
            return f"{statement(fresh)} says {said} while the position is {position}", values

        return Verdict(self.name, tell, stands=bool(because), because=because)
