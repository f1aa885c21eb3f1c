"""Crossings of two simple moving averages of the close.

A bar triggers ``crossAbove`` when the average of the ``fast`` newest closes is above that of the ``slow`` newest ones
and was not above it one bar before; ``crossBelow`` is the mirror image. Bars without both averages are silent. The
sums are made anew from the window at each bar: a running sum would depend, in its last bits, on where it began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, ClassVar, Final

from escapement.core.analysis.analyzer import check_version
from escapement.errors import InvalidInput
from escapement.model import Bar, Signal

_NAME: Final = "moving_average_crossover"
_VERSION: Final = 1


@dataclass(frozen=True)
class MovingAverageCrossoverParams:
    """Lengths of the two averages in bars.

    Raises:
        InvalidInput: ``fast`` is less than 1, or ``slow`` is not more than ``fast``.
    """

    fast: int = 10
    slow: int = 30

    def __post_init__(self) -> None:
        if self.fast < 1:
            raise InvalidInput(f"fast {self.fast} is no number of bars; use 1 or more")
        if self.slow <= self.fast:
            raise InvalidInput(f"slow {self.slow} is not more than fast {self.fast}; use a longer slow average")


class MovingAverageCrossover:
    """Finds crossings in the bars of one contract and timeframe; the marked bar is the trigger bar, price its close."""

    name: ClassVar[str] = _NAME
    version: ClassVar[int] = _VERSION
    params_type: ClassVar[type[Any]] = MovingAverageCrossoverParams

    __slots__ = ("_closes", "_difference", "_fast", "_slow")

    def __init__(self, params: MovingAverageCrossoverParams | None = None) -> None:
        params = params or MovingAverageCrossoverParams()
        self._fast: int = params.fast
        self._slow: int = params.slow
        self._closes: deque[float] = deque(maxlen=self._slow)
        self._difference: float | None = None  # fast minus slow average one bar before

    @property
    def warm_up_bars(self) -> int:
        """As many bars as the slow average of the bar before reads."""
        return self._slow

    def push(self, bar: Bar, /) -> Sequence[Signal]:
        """Take the next bar; return the crossing it completes, if any."""
        closes = self._closes
        closes.append(bar.close)
        if len(closes) < self._slow:
            return ()
        newest = list(closes)
        before = self._difference
        self._difference = now = fsum(newest[-self._fast :]) / self._fast - fsum(newest) / self._slow
        if before is None:
            return ()
        if now > 0 >= before:
            signal_type = "crossAbove"
        elif now < 0 <= before:
            signal_type = "crossBelow"
        else:
            return ()
        start_ns = bar.start_ns
        return (
            Signal(
                _NAME, bar.contract_id, bar.timeframe, signal_type, start_ns, start_ns, bar.end_ns, bar.close,
                f"SMA_{self._fast}_{self._slow}",
            ),
        )  # fmt: skip

    def advance(self, to_ns: int, /) -> Sequence[Signal]:  # noqa: ARG002 - the protocol's; time alone crosses nothing
        """Return nothing: only a bar completes a crossing."""
        return ()

    def snapshot(self) -> dict[str, Any]:
        """Return the window of closes and the last difference as plain JSON data."""
        return {
            "analyzer": _NAME,
            "version": _VERSION,
            "closes": list(self._closes),
            "difference": self._difference,
        }

    def restore(self, state: Mapping[str, Any], /) -> None:
        """Continue from a snapshot.

        Raises:
            InvalidInput: it is of another version or spoilt; nothing has changed.
        """
        check_version(state, _NAME, _VERSION)
        try:
            closes = [float(close) for close in state["closes"]]
            difference = None if state["difference"] is None else float(state["difference"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"saved state of {_NAME} is spoilt ({error!r}); do without it") from None
        self._closes = deque(closes, maxlen=self._slow)
        self._difference = difference
