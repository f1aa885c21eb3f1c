"""How long something took, counted in buckets: small enough to be told with every heartbeat, exact in count and sum."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

# Upper bounds in seconds, each included: from what a database on the same machine takes to what a repair may wait.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class LagCounts:
    """Counts lags in seconds by the bucket of ``BOUNDS_S`` they fall in; the last bucket has no bound."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, lags_s: Iterable[float]) -> None:
        """Count some lags."""
        for lag_s in lags_s:
            self.counts[bisect_left(BOUNDS_S, lag_s)] += 1
            self.sum_s += lag_s

    def add(self, bucket: int, count: int, sum_s: float) -> None:
        """Take lags that were counted elsewhere."""
        self.counts[bucket] += count
        self.sum_s += sum_s

    def report(self) -> dict[str, object]:
        """Return the counts, bucket by bucket, and the sum, as plain JSON data."""
        return {"counts": list(self.counts), "sum_s": self.sum_s}
