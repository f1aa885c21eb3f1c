"""What happens when some voices say the opposite of a wish.

| way                      | voices that oppose                         | wish                                  |
|--------------------------|--------------------------------------------|---------------------------------------|
| any                      | none                                       | stands                                |
| ``ignore``               | some                                       | stands                                |
| ``higher_timeframe``     | some, and the largest timeframe with them  | falls                                 |
| ``higher_timeframe``     | some, and the largest timeframe against    | stands                                |
| ``stand_aside``          | some                                       | falls                                 |
| ``reduce``               | some                                       | stands, with the share of those for it |
| ``reduce``               | all                                        | falls                                 |

A largest timeframe that contradicts itself is on neither side; the next one decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from escapement.core.coordination.view import Told, Verdict, View
from escapement.core.coordination.voices import Scope, Voice
from escapement.core.coordination.words import direction_name, figure, listed, span
from escapement.model import Timeframe

ConflictWay = Literal["ignore", "higher_timeframe", "stand_aside", "reduce"]


@dataclass(frozen=True)
class Conflict:
    """Judges a wish by the voices of ``timeframes`` and ``analyzers`` (empty: all) not older than ``within_ns``."""

    way: ConflictWay = "ignore"
    timeframes: tuple[Timeframe, ...] = ()
    analyzers: tuple[str, ...] = ()
    within_ns: int | None = None

    name: ClassVar[str] = "conflict"

    def judge(self, view: View, direction: int) -> Verdict:
        """As the protocol of gates says."""
        voices = view.heard(Scope(self.timeframes, self.analyzers), self.within_ns)
        against = [voice for voice in voices if voice.direction != direction]
        share = 1.0 if not against else (len(voices) - len(against)) / len(voices)
        leading = self._leading(view, voices) if against and self.way == "higher_timeframe" else None
        stands = (
            not against
            or {
                "ignore": True,
                "stand_aside": False,
                "reduce": share > 0,
                "higher_timeframe": leading is not None and leading[1] == direction,
            }[self.way]
        )

        def tell() -> Told:
            leading = self._leading(view, voices)
            wish = direction_name(direction)
            within = "" if self.within_ns is None else f" within {span(self.within_ns)}"
            words = f"{len(against)} of {len(voices)} voices{within} oppose {wish}"
            if against:
                words += f" ({listed({voice.timeframe for voice in against})}){self._consequence(share, leading)}"
            values = {
                "direction": wish, "way": self.way, "voices": len(voices), "against": len(against),
                "opposing": [str(voice.timeframe) for voice in against], "share": round(share, 4),
                "within": None if self.within_ns is None else span(self.within_ns),
                "leading": None if leading is None else [str(leading[0]), direction_name(leading[1])],
            }  # fmt: skip
            return words, values

        left = share if self.way == "reduce" else 1.0
        return Verdict(self.name, tell, stands=stands, confidence=left)

    def _leading(self, view: View, voices: list[Voice]) -> tuple[Timeframe, int] | None:
        for timeframe in sorted({voice.timeframe for voice in voices}, reverse=True):
            spoken_last = view.on(timeframe, self.analyzers, self.within_ns)
            if spoken_last:
                return timeframe, spoken_last[0].direction
        return None

    def _consequence(self, share: float, leading: tuple[Timeframe, int] | None) -> str:
        if self.way == "ignore":
            return ", which is ignored"
        if self.way == "stand_aside":
            return ", so it stands aside"
        if self.way == "reduce":
            return f", so {figure(share)} of the confidence is left"
        if leading is None:
            return ", and no timeframe leads"
        return f", and {leading[0]}, the largest that speaks, says {direction_name(leading[1])}"
