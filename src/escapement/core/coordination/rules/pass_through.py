"""Every signal is a wish.

| said at this moment                 | wish      |
|-------------------------------------|-----------|
| long by any voice listened to       | long      |
| short by any voice listened to      | short     |
| nothing by the voices listened to   | none      |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from escapement.core.coordination.view import Told, Verdict, View, statement
from escapement.core.coordination.voices import Scope
from escapement.core.coordination.words import direction_name, listed
from escapement.model import Timeframe


@dataclass(frozen=True)
class PassThrough:
    """Follows every signal of ``timeframes`` and ``analyzers``; empty stands for all."""

    timeframes: tuple[Timeframe, ...] = ()
    analyzers: tuple[str, ...] = ()

    name: ClassVar[str] = "pass_through"

    @cached_property
    def scope(self) -> Scope:
        """As the protocol says."""
        return Scope(self.timeframes, self.analyzers)

    def propose(self, view: View, direction: int) -> Verdict:
        """As the protocol says."""
        fresh = view.fresh(self.scope, direction)

        def tell() -> Told:
            wish = direction_name(direction)
            values = {
                "direction": wish,
                "timeframes": [str(each) for each in self.timeframes],
                "analyzers": list(self.analyzers),
                "signals": len(fresh),
            }
            if fresh:
                return f"{statement(fresh)} says {wish}", values
            listening = f"{listed(self.timeframes)}" if self.timeframes else "all timeframes"
            by = f" by {', '.join(self.analyzers)}" if self.analyzers else ""
            return f"it listens to {listening}{by}, where nothing says {wish} now", values

        return Verdict(self.name, tell, stands=bool(fresh), because=tuple(fresh))
