"""The analysis service as a process to kill: forks one, ready within milliseconds, for each line on standard input."""

from __future__ import annotations

from escapement.analyzers import find_analyzer
from escapement.core.analysis import DonchianBreakoutParams, MovingAverageCrossoverParams, TrendStartsParams
from escapement.model import Timeframe
from escapement.services.analyze import CHANNELS, Analysis
from escapement.services.lane import AnalyzeParams, Planned, Series
from escapement.services.plan import Run
from escapement.services.workers import Workers
from escapement.storage import DBHandler
from escapement.storage.analysis import AnalysisStore
from escapement.storage.doorbell import Doorbell
from forking import fork_for_each_line

SERIES: list[Series] = [
    ("CON.F.US.MES.M25", Timeframe.parse("1m")),
    ("CON.F.US.MES.M25", Timeframe.parse("5m")),
    ("CON.F.US.MNQ.M25", Timeframe.parse("1m")),
]


def runs(workers: Workers | None = None) -> list[Run]:
    minutes = [Timeframe.parse("1m"), Timeframe.parse("5m")]
    return [
        Run("trend_starts", find_analyzer("trend_starts"), dict.fromkeys(minutes, TrendStartsParams())),
        Run("donchian_breakout", find_analyzer("donchian_breakout"), dict.fromkeys(minutes, DonchianBreakoutParams(5)),
            workers=workers),
        Run("moving_average_crossover", find_analyzer("moving_average_crossover"),
            {minutes[0]: MovingAverageCrossoverParams(3, 8)}, frozenset({"MNQ"})),
    ]  # fmt: skip


def instances(workers: Workers | None = None) -> list[Planned]:
    return [each for run in runs(workers) for each in run.on(SERIES)]


def analysis(database: DBHandler, *, workers: Workers | None = None, bell: bool = True, **params: float) -> Analysis:
    """The service in small steps, so that there are many moments to be killed at."""

    async def plan() -> list[Planned]:
        return instances(workers)

    chosen = {"poll_s": 0.05, "chunk_bars": 7, "checkpoint_bars": 10, **params}
    return Analysis(
        AnalysisStore(database), Doorbell(database, CHANNELS) if bell else None, plan,
        AnalyzeParams(**chosen),  # type: ignore[arg-type] # whole numbers are given as such
    )  # fmt: skip


async def serve(url: str) -> None:
    async with await DBHandler.open(url) as database:
        await analysis(database).run()


if __name__ == "__main__":
    fork_for_each_line(serve)
