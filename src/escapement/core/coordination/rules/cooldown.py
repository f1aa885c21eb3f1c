"""No new position soon after a decision.

| time since the last decision that changed the position | wish   |
|--------------------------------------------------------|--------|
| none taken yet                                         | stands |
| less than ``length_ns``                                | falls  |
| ``length_ns`` or more                                  | stands |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from escapement.core.coordination.view import Told, Verdict, View
from escapement.core.coordination.words import direction_name, span
from escapement.errors import InvalidInput


@dataclass(frozen=True)
class Cooldown:
    """Waits ``length_ns`` after each decision to enter, reverse or exit.

    Raises:
        InvalidInput: the length is not above 0.
    """

    length_ns: int

    name: ClassVar[str] = "cooldown"

    def __post_init__(self) -> None:
        if self.length_ns <= 0:
            raise InvalidInput(f"length {self.length_ns} ns is not above 0; leave the rule out for no cool-down")

    def judge(self, view: View, direction: int) -> Verdict:
        """As the protocol says."""
        since_ns = None if view.decided_ns is None else view.at_ns - view.decided_ns

        def tell() -> Told:
            since, need = None if since_ns is None else span(since_ns), span(self.length_ns)
            values = {"direction": direction_name(direction), "since": since, "need": need}
            if since is None:
                return f"nothing was decided before, {need} needed", values
            return f"the last decision is {since} old, {need} needed", values

        return Verdict(self.name, tell, stands=since_ns is None or since_ns >= self.length_ns)
