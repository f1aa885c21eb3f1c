"""What a service tells of itself whose work is done in several parts, which come and go with leases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from escapement.services.supervise import Ready, unheard

# How things are now, not how often something happened: no part of what has ended.
_NOW: Final = {"bars_waiting", "gaps_open", "feed", "account"}


class Reports:
    """The reports of all parts as one; counts of parts that have ended stay in it, so that no count goes back.

    ``ready`` is called once, when the first part begins, or when there is nothing to do but to stand by.
    """

    def __init__(self, ready: Ready = unheard) -> None:
        self._ready: Ready | None = ready
        self._working: list[Callable[[], Mapping[str, Any]]] = []
        self._ended: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        """Return the report: plain JSON data."""
        return _together([self._ended, *(report() for report in self._working)])

    def begin(self) -> None:
        """Say that the service is up."""
        ready, self._ready = self._ready, None
        if ready is not None:
            ready(self)

    @contextmanager
    def during(self, report: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
        """Let a part that reports so be one of them."""
        self._working.append(report)
        self.begin()
        try:
            yield
        finally:
            self._working.remove(report)
            last = {name: value for name, value in report().items() if name not in _NOW}
            self._ended = _together([self._ended, last])


def _together(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for report in reports:
        for name, value in report.items():
            found[name] = value if name not in found else _both(name, found[name], value)
    return found


def _both(name: str, one: Any, other: Any) -> Any:
    if name == "feed":
        return {
            "connected": one["connected"] and other["connected"], "for_s": min(one["for_s"], other["for_s"]),
            "contracts": {**one["contracts"], **other["contracts"]},
        }  # fmt: skip
    if name == "lag":
        counts = [first + second for first, second in zip(one["counts"], other["counts"], strict=True)]
        return {"counts": counts, "sum_s": one["sum_s"] + other["sum_s"]}
    if name.endswith("_ns"):
        return max(one, other)
    return one + other if isinstance(one, int | float) and isinstance(other, int | float) else other
