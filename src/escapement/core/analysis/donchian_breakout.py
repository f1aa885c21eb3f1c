"""Closes beyond the Donchian channel.

The channel of a bar is the highest high and the lowest low of the ``length`` bars before it. A close above the channel
triggers ``breakoutUp``, one below it ``breakoutDown``; a close on its edge triggers nothing. Each such bar triggers,
not only the first of a run, so that no signal depends on how long ago the run began. Bars without a full channel are
silent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from escapement.core.analysis.analyzer import check_version
from escapement.errors import InvalidInput
from escapement.model import Bar, Signal

_NAME: Final = "donchian_breakout"
_VERSION: Final = 1


@dataclass(frozen=True)
class DonchianBreakoutParams:
    """Length of the channel in bars.

    Raises:
        InvalidInput: ``length`` is less than 1.
    """

    length: int = 20

    def __post_init__(self) -> None:
        if self.length < 1:
            raise InvalidInput(f"length {self.length} is no number of bars; use 1 or more")


class DonchianBreakout:
    """Finds breakouts in the bars of one contract and timeframe; the marked bar is the trigger bar, price its close."""

    name: ClassVar[str] = _NAME
    version: ClassVar[int] = _VERSION
    params_type: ClassVar[type[Any]] = DonchianBreakoutParams

    __slots__ = ("_highs", "_length", "_lows")

    def __init__(self, params: DonchianBreakoutParams | None = None) -> None:
        self._length: int = (params or DonchianBreakoutParams()).length
        self._highs: deque[float] = deque(maxlen=self._length)
        self._lows: deque[float] = deque(maxlen=self._length)

    @property
    def warm_up_bars(self) -> int:
        """As many bars as the channel reads."""
        return self._length

    def push(self, bar: Bar, /) -> Sequence[Signal]:
        """Take the next bar; return its breakout, if any."""
        signal_type = ""
        if len(self._highs) == self._length:
            if bar.close > max(self._highs):
                signal_type = "breakoutUp"
            elif bar.close < min(self._lows):
                signal_type = "breakoutDown"
        self._highs.append(bar.high)
        self._lows.append(bar.low)
        if not signal_type:
            return ()
        start_ns = bar.start_ns
        return (
            Signal(
                _NAME, bar.contract_id, bar.timeframe, signal_type, start_ns, start_ns, bar.end_ns, bar.close,
                f"DONCHIAN_{self._length}",
            ),
        )  # fmt: skip

    def advance(self, to_ns: int, /) -> Sequence[Signal]:  # noqa: ARG002 - the protocol's; time alone breaks nothing
        """Return nothing: only a bar breaks out."""
        return ()

    def snapshot(self) -> dict[str, Any]:
        """Return the window of highs and lows as plain JSON data."""
        return {"analyzer": _NAME, "version": _VERSION, "highs": list(self._highs), "lows": list(self._lows)}

    def restore(self, state: Mapping[str, Any], /) -> None:
        """Continue from a snapshot.

        Raises:
            InvalidInput: it is of another version or spoilt; nothing has changed.
        """
        check_version(state, _NAME, _VERSION)
        try:
            highs = [float(high) for high in state["highs"]]
            lows = [float(low) for low in state["lows"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"saved state of {_NAME} is spoilt ({error!r}); do without it") from None
        self._highs = deque(highs, maxlen=self._length)
        self._lows = deque(lows, maxlen=self._length)
