"""Prices as whole ticks, so that they compare and add exactly."""

from __future__ import annotations

from decimal import Decimal


class PriceGrid:
    """Converts between prices in points and whole ticks of one contract."""

    def __init__(self, tick_size: Decimal) -> None:
        self._tick = tick_size
        self._width = float(tick_size)

    def nearest(self, price: float) -> int:
        """Return the tick nearest to ``price``."""
        return round(price / self._width)

    def exact(self, price: float) -> int | None:
        """Return the tick ``price`` lies on, or None when it lies between two."""
        ticks = price / self._width
        return round(ticks) if abs(ticks - round(ticks)) < 1e-6 else None

    def price(self, ticks: int) -> float:
        """Return the price of a tick, exactly as quoted."""
        return float(ticks * self._tick)

    def mean(self, total_ticks: int, count: int) -> float:
        """Return the average price, in points, of ``count`` contracts that cost ``total_ticks`` together."""
        return float(total_ticks * self._tick / count)
