"""Which stretch settings are chosen on, and which later one they are tried on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from escapement.errors import InvalidInput
from escapement.model import Session


@dataclass(frozen=True, slots=True)
class Window:
    """Settings are chosen on ``[from_ns, split_ns)`` and tried on ``[split_ns, to_ns)``, nanoseconds UTC.

    Without a second part the two last are equal.
    """

    number: int
    from_ns: int
    split_ns: int
    to_ns: int

    @property
    def is_tried(self) -> bool:
        """Whether there is a second part."""
        return self.to_ns > self.split_ns


def windows(sessions: Sequence[Session], to_ns: int, count: int, share: float) -> list[Window]:
    """Return windows that roll over sessions; what they are tried on follows one another without overlap.

    Args:
        sessions: all there are, oldest first.
        to_ns: where the last one ends.
        count: how many windows.
        share: of each window that settings are tried on; 0 leaves that out.

    Raises:
        InvalidInput: a number is out of range, or there are too few sessions.
    """
    if count < 1:
        raise InvalidInput(f"--windows {count} is below 1; name how many stretches settings are chosen on")
    if not 0 <= share < 1:
        raise InvalidInput(f"--out-of-sample {share} is not a share; name one from 0 to below 1, such as 0.3")
    if not share:
        if count > 1:
            raise InvalidInput("--windows needs what settings are tried on; name --out-of-sample, such as 0.3")
        if not sessions:
            raise InvalidInput("there is no session in this stretch; choose another")
        return [Window(0, sessions[0].open_ns, to_ns, to_ns)]
    total = len(sessions)
    length = total / (1 + (count - 1) * share)
    tried = max(1, round(length * share))
    chosen_on = total - count * tried
    if chosen_on < 1:
        raise InvalidInput(
            f"{total} sessions are too few for {count} windows with a share of {share}; choose a longer stretch or "
            "fewer windows"
        )
    begins = [each.open_ns for each in sessions] + [to_ns]
    return [
        Window(number, begins[first], begins[first + chosen_on], begins[first + chosen_on + tried])
        for number, first in enumerate(range(0, count * tried, tried))
    ]
