"""Out of a position when something says the opposite.

| position | said at this moment by a voice listened to | decision |
|----------|--------------------------------------------|----------|
| long     | short                                      | exit     |
| short    | long                                       | exit     |
| any      | otherwise                                  | none     |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from escapement.core.coordination.view import Verdict, View, statement
from escapement.core.coordination.voices import Scope
from escapement.core.coordination.words import direction_name, listed
from escapement.model import FLAT, Timeframe


@dataclass(frozen=True)
class OppositeSignal:
    """Ends a position on a signal against it of ``timeframes`` and ``analyzers``; empty stands for all."""

    timeframes: tuple[Timeframe, ...] = ()
    analyzers: tuple[str, ...] = ()

    name: ClassVar[str] = "opposite_signal"

    def propose(self, view: View, direction: int) -> Verdict:
        """Say whether signals of this moment that say ``direction`` end the position."""
        said, position = direction_name(direction), direction_name(view.position)
        fresh = view.fresh(Scope(self.timeframes, self.analyzers), direction)
        values = {
            "direction": said, "position": position, "signals": len(fresh),
            "timeframes": [str(each) for each in self.timeframes], "analyzers": list(self.analyzers),
        }  # fmt: skip
        if view.position in {FLAT, direction}:
            words = f"the position is {position}, {said} does not oppose it"
            return Verdict(self.name, words, values, stands=False)
        if not fresh:
            listening = listed(self.timeframes) if self.timeframes else "all timeframes"
            words = f"it listens to {listening}, where nothing says {said} now"
            return Verdict(self.name, words, values, stands=False)
        words = f"{statement(fresh)} says {said} while the position is {position}"
        return Verdict(self.name, words, values, stands=True, because=tuple(fresh))
