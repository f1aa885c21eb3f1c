"""One entry in a while.

| ``what``              | entered before                                   | wish   |
|-----------------------|--------------------------------------------------|--------|
| ``session``           | in this session, in whichever direction          | falls  |
| ``direction``         | in this direction, and not the opposite since    | falls  |
| ``session_direction`` | in this session in this direction                | falls  |
| any                   | otherwise                                        | stands |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from escapement.core.coordination.view import Entry, Verdict, View
from escapement.core.coordination.words import direction_name
from escapement.moments import iso_from_ns


@dataclass(frozen=True)
class OncePer:
    """Lets one decision to enter or reverse pass per session, per direction, or per direction and session."""

    what: Literal["session", "direction", "session_direction"]

    name: ClassVar[str] = "once_per"

    def judge(self, view: View, direction: int) -> Verdict:
        """As the protocol says."""
        earlier = self._earlier(view, direction)
        per = self.what.replace("_", " and ")
        wish = direction_name(direction)
        values: dict[str, Any] = {
            "direction": wish,
            "what": self.what,
            "trade_date": None if view.trade_date is None else view.trade_date.isoformat(),
            "earlier": None if earlier is None else iso_from_ns(earlier.at_ns),
        }
        session = f" (session of {values['trade_date']})" if "session" in self.what else ""
        if earlier is None:
            words = f"one entry per {per}{session}, and none was decided before"
            return Verdict(self.name, words, values, stands=True)
        words = f"one entry per {per}{session}, and one was decided at {values['earlier']}"
        return Verdict(self.name, words, values, stands=False)

    def _earlier(self, view: View, direction: int) -> Entry | None:
        same, other = view.entries.get(direction), view.entries.get(-direction)
        if self.what == "direction":
            return same if same is not None and (other is None or other.at_ns < same.at_ns) else None
        entries = [same] if self.what == "session_direction" else [same, other]
        of_session = [each for each in entries if each is not None and each.trade_date == view.trade_date]
        return max(of_session, key=lambda each: each.at_ns, default=None)
