"""What a run of a backtest or a sweep is, and what one wishes to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class RunKind(StrEnum):
    """What was run."""

    BACKTEST = "backtest"
    SWEEP = "sweep"


class RunState(StrEnum):
    """How a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RunWish:
    """What to run over the stored bars of ``contracts`` (empty: those of the settings) from ``begin`` to ``end``.

    ``begin`` and ``end`` are trade dates (``2025-03-17``) or ISO 8601 times. ``changes`` are settings by their paths
    (``execution.stop_ticks``) as YAML. For a sweep ``over`` names settings and their values (``10,20,40`` or
    ``10..50..5``), ``method`` is grid, random or optuna, ``trials`` how many points of the latter two.
    """

    kind: RunKind
    begin: str
    end: str
    contracts: tuple[str, ...] = ()
    changes: Mapping[str, str] | None = None
    over: Mapping[str, str] | None = None
    method: str = "grid"
    trials: int = 100
    objective: str = "sharpe"
    windows: int = 1


@dataclass(frozen=True, slots=True)
class RunShown:
    """A run, kept in a folder called ``name``. ``progress`` is 0 to 1, None where it cannot be told.

    ``figures``: of a backtest that is done, by name (net, trades, win_rate, max_drawdown, sharpe, …); of a sweep those
    of what it chose. ``words``: what went wrong. ``has_page``: there is a report to look at.
    """

    name: str
    kind: RunKind
    state: RunState
    made_at: datetime
    ended_at: datetime | None
    progress: float | None
    title: str
    figures: Mapping[str, float | int | None]
    words: str
    has_page: bool


@dataclass(frozen=True, slots=True)
class RunDetails:
    """A run with all it told: a backtest's report as docs/backtest.md describes it, a sweep's summary and its points.

    ``points``: of a sweep, a row each with the settings varied and the figures, for heat maps; ``over`` names them.
    ``log``: the end of what the program wrote.
    """

    run: RunShown
    report: Mapping[str, Any]
    over: tuple[str, ...]
    points: tuple[Mapping[str, Any], ...]
    log: str
