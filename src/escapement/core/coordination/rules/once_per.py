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
from typing import ClassVar, Literal

from escapement.core.coordination.view import Entry, Told, Verdict, View
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

        def tell() -> Told:
            values = {
                "direction": direction_name(direction),
                "what": self.what,
                "trade_date": None if view.trade_date is None else view.trade_date.isoformat(),
                "earlier": None if earlier is None else iso_from_ns(earlier.at_ns),
            }
            session = f" (session of {values['trade_date']})" if "session" in self.what else ""
            before = "none was decided before" if earlier is None else f"one was decided at {values['earlier']}"
            return f"one entry per {self.what.replace('_', ' and ')}{session}, and {before}", values

        return Verdict(self.name, tell, stands=earlier is None)

    def _earlier(self, view: View, direction: int) -> Entry | None:
        same, other = view.entries.get(direction), view.entries.get(-direction)
        if self.what == "direction":
            return same if same is not None and (other is None or other.at_ns < same.at_ns) else None
        entries = [same] if self.what == "session_direction" else [same, other]
        of_session = [each for each in entries if each is not None and each.trade_date == view.trade_date]
        return max(of_session, key=lambda each: each.at_ns, default=None)
