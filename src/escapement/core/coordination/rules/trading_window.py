"""New positions at certain hours only.

| moment, by the clock of ``zone``                              | wish   |
|---------------------------------------------------------------|--------|
| on one of ``days``, from ``begins`` on and before ``ends``    | stands |
| otherwise                                                     | falls  |

A window whose end is not after its beginning reaches into the next day, and belongs to the day on which it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

from escapement.core.coordination.view import Told, Verdict, View
from escapement.core.coordination.words import direction_name
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY: Final = tuple(range(7))


@dataclass(frozen=True)
class TradingWindow:
    """Lets wishes pass from ``begins`` to ``ends`` on ``days`` (0 is Monday), by the clock of ``zone``.

    Raises:
        InvalidInput: no days, or one that is not among 0 to 6.
    """

    begins: time
    ends: time
    zone: ZoneInfo
    days: Sequence[int] = _EVERY_DAY

    name: ClassVar[str] = "trading_window"

    def __post_init__(self) -> None:
        if not self.days or any(day not in _EVERY_DAY for day in self.days):
            raise InvalidInput(f"days {list(self.days)} are no weekdays; use some of {', '.join(DAYS)}")

    def judge(self, view: View, direction: int) -> Verdict:
        """As the protocol says."""
        local = datetime.fromtimestamp(view.at_ns // NS_PER_SECOND, UTC).astimezone(self.zone)
        stands = self._is_open(local)

        def tell() -> Told:
            clock = f"{DAYS[local.weekday()]} {local:%H:%M:%S}"
            window = f"{self.begins:%H:%M} to {self.ends:%H:%M} {self.zone.key}"
            on = "" if len(self.days) == 7 else f" on {', '.join(DAYS[day] for day in sorted(self.days))}"
            values = {
                "direction": direction_name(direction), "local": clock, "begins": f"{self.begins:%H:%M}",
                "ends": f"{self.ends:%H:%M}", "zone": self.zone.key, "days": [DAYS[day] for day in self.days],
            }  # fmt: skip
            return f"it is {clock}, {'within' if stands else 'outside'} {window}{on}", values

        return Verdict(self.name, tell, stands=stands)

    def _is_open(self, local: datetime) -> bool:
        now, yesterday = local.time(), (local.date() - timedelta(days=1)).weekday()
        if self.begins < self.ends:
            return local.weekday() in self.days and self.begins <= now < self.ends
        return (local.weekday() in self.days and now >= self.begins) or (yesterday in self.days and now < self.ends)
