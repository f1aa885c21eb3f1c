"""How much of the best of many trials is the luck of having tried many.

Source: Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40 (2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, variance

import numpy as np

_EULER = 0.5772156649015329
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Returns:
    """What daily returns look like: ``sharpe`` is of a day, not of a year; ``kurtosis`` is 3 for a normal one."""

    count: int
    sharpe: float
    skew: float
    kurtosis: float

    @classmethod
    def of(cls, returns: Sequence[float]) -> Returns | None:
        """Return that of some returns; None of fewer than three, or when they are all the same."""
        values = np.asarray(returns, np.float64)
        if values.size < 3 or float(np.ptp(values)) == 0.0:
            return None
        apart = (values - values.mean()) / values.std()
        sharpe = float(values.mean() / values.std(ddof=1))
        return cls(values.size, sharpe, float(np.mean(apart**3)), float(np.mean(apart**4)))


def expected_best(sharpes: Sequence[float], trials: int | None = None) -> float:
    """Return the daily Sharpe ratio that the best of so many trials without any skill would be expected to have.

    Args:
        sharpes: of the trials, of a day.
        trials: how many there were, where not all have a Sharpe ratio.
    """
    count = max(len(sharpes), trials or 0)
    if len(sharpes) < 2 or count < 2:
        return 0.0
    high = _NORMAL.inv_cdf(1 - 1 / count), _NORMAL.inv_cdf(1 - 1 / (count * math.e))
    return math.sqrt(variance(sharpes)) * ((1 - _EULER) * high[0] + _EULER * high[1])


def deflated_sharpe(best: Returns, sharpes: Sequence[float], trials: int | None = None) -> float:
    """Return the probability that the best trial's Sharpe ratio is more than luck makes of so many trials."""
    above = best.sharpe - expected_best(sharpes, trials)
    spread = 1 - best.skew * best.sharpe + (best.kurtosis - 1) / 4 * best.sharpe**2
    return _NORMAL.cdf(above * math.sqrt(best.count - 1) / math.sqrt(max(spread, 1e-12)))
