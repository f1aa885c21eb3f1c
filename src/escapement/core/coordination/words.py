"""Directions and lengths of time in words, for those who ask why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from escapement.model import FLAT, LONG, NS_PER_SECOND, SHORT, Timeframe

_DIRECTIONS: Final = {LONG: "long", SHORT: "short", FLAT: "flat"}
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def direction_name(direction: int) -> str:
    """Return ``long``, ``short`` or ``flat``."""
    return _DIRECTIONS[direction]


def span(length_ns: int) -> str:
    """Write a length of time, such as ``1h30m``; parts of a second are cut."""
    seconds = length_ns // NS_PER_SECOND
    parts = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def listed(timeframes: Iterable[Timeframe]) -> str:
    """Write timeframes, the largest first; ``none`` for none."""
    return ", ".join(str(each) for each in sorted(timeframes, reverse=True)) or "none"


def figure(value: float) -> str:
    """Write a number of a comparison, to at most four digits after the point."""
    return f"{value:.4f}".rstrip("0").rstrip(".")
