"""Analyzers or coordinator as a process to kill, by the line ``analyze URL`` or ``coordinate URL``."""

from __future__ import annotations

from datetime import date

from escapement import wiring
from escapement.model import Bar
from escapement.services.coordinate import CoordinateParams
from escapement.services.lane import AnalyzeParams
from escapement.settings import Settings, load_settings
from escapement.simulator import synthetic_trades
from escapement.storage import DBHandler
from forking import fork_for_each_line
from offline import RULES, bars_of

MES, MNQ = "CON.F.US.MES.M25", "CON.F.US.MNQ.M25"


def settings(**coordinator: object) -> Settings:
    return load_settings(
        environ={}, contracts=[MES, MNQ], timeframes=["1m", "5m", "15m"],
        analyzers={"run": ["trend_starts", {"name": "donchian_breakout", "timeframes": ["5m"]}]},
        coordinator=RULES | coordinator,
    )  # fmt: skip


def bars(hours: float = 6, seed: int = 5) -> list[Bar]:
    trades = list(synthetic_trades([MES, MNQ], date(2025, 3, 18), seed=seed, per_minute=6))
    end_ns = trades[0].at_ns + int(hours * 3_600) * 1_000_000_000
    return bars_of([each for each in trades if each.at_ns < end_ns], [MES, MNQ], settings().timeframes)


async def serve(line: str) -> None:
    """In small steps, so that there are many moments to be killed at."""
    what, url = line.split(" ", 1)
    chosen = settings()
    async with await DBHandler.open(url) as database:
        if what == "analyze":
            small = AnalyzeParams(poll_s=0.05, chunk_bars=7, checkpoint_bars=10)
            async with wiring.analysis(chosen, database, small) as analysis:
                await analysis.run()
        else:
            small_steps = CoordinateParams(poll_s=0.05, patience_s=600, most=3)
            await wiring.coordination(chosen, database, small_steps).run()


if __name__ == "__main__":
    fork_for_each_line(serve)
