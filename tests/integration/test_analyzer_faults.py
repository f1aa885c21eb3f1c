"""Analyzers that raise, lie, forget, hang or take their process with them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from analysed import MINUTE, Row, expected, holding, running, stored, until, until_holding, walk
from analysis_program import SERIES
from escapement.analyzers import find_analyzer
from escapement.core.analysis import TrendStartsParams
from escapement.services.analyze import CHANNELS, Analysis
from escapement.services.lane import AnalyzeParams, Planned
from escapement.services.plan import Run
from escapement.services.workers import Workers
from escapement.storage import DBHandler
from escapement.storage.analysis import AnalysisStore
from escapement.storage.doorbell import Doorbell

MOODY = '''
"""Says every close, and has its moods."""

import os
from dataclasses import dataclass
from pathlib import Path

from escapement.model import Signal


@dataclass(frozen=True)
class MoodyParams:
    folder: str = ""


class Moody:
    name = "moody"
    version = 1
    params_type = MoodyParams
    warm_up_bars = 0

    def __init__(self, params=None):
        self.folder = Path((params or MoodyParams()).folder)
        self.count = 0

    def push(self, bar):
        self.count += 1
        if self.count == 30 and (self.folder / "die").exists():
            if (self.folder / "once").exists():
                (self.folder / "die").unlink()
            os.kill(os.getpid(), 9)
        if self.count == 30 and (self.folder / "raise").exists():
            raise RuntimeError("not today")
        if self.count == 30 and (self.folder / "lie").exists():
            return [Signal("moody", bar.contract_id, bar.timeframe, "close", bar.start_ns, 0, bar.end_ns, 1.0, "")]
        return [
            Signal("moody", bar.contract_id, bar.timeframe, "close", bar.start_ns, bar.start_ns, bar.end_ns, bar.close,
                   f"bar {self.count}")
        ]

    def advance(self, to_ns):
        return ()

    def snapshot(self):
        return {"count": float("nan") if (self.folder / "nan").exists() else self.count}

    def restore(self, state):
        self.count = state["count"]
'''


@asynccontextmanager
async def moody_and_other(database: DBHandler, folder: Path, workers: Workers | None) -> AsyncIterator[Analysis]:
    """A service of an analyzer in a single file, and of one that is sound."""
    file = folder / "moody.py"
    file.write_text(MOODY, encoding="utf-8")
    plugin = find_analyzer(str(file))
    moody = Run(str(file), plugin, {MINUTE: plugin.params({"folder": str(folder)})}, workers=workers)
    sound = Run("trend_starts", find_analyzer("trend_starts"), {MINUTE: TrendStartsParams()}, workers=None)

    async def plan() -> list[Planned]:
        return [each for run in (moody, sound) for each in run.on(SERIES[:1])]

    service = Analysis(
        AnalysisStore(database),
        Doorbell(database, CHANNELS),
        plan,
        AnalyzeParams(0.05, chunk_bars=10, fault_retry_s=0.3),
    )
    async with running(service):
        yield service


def counted(rows: Sequence[Row], name: str) -> int:
    return sum(row[0] == name for row in rows)


@pytest.mark.parametrize("mood", ["raise", "lie", "nan"])
async def test_an_analyzer_at_fault_is_told_and_holds_up_no_other_and_goes_on_when_mended(
    url: str, tmp_path: Path, mood: str
) -> None:
    bars = walk(SERIES[0], 60)
    sound = [row for row in expected(bars) if row[0] == "trend_starts"]
    (tmp_path / mood).touch()
    async with await DBHandler.open(url) as database, moody_and_other(database, tmp_path, None) as service:
        await database.store_bars(bars)

        async def sound_is_done() -> bool:
            return counted(await holding(database), "trend_starts") == len(sound) and service.statistics().faults > 1

        await until(sound_is_done)
        _, ((fault,),) = await database.read("SELECT fault FROM analyzer_watermarks WHERE analyzer_id = 'moody'")
        assert re.search({"raise": "not today", "lie": "trigger_start_ns", "nan": "no plain JSON"}[mood], str(fault))
        assert counted(await holding(database), "moody") <= 29
        (tmp_path / mood).unlink()

        async def all_is_done() -> bool:
            return counted(await holding(database), "moody") == len(bars)

        await until(all_is_done)
        rows = [row for row in await holding(database) if row[0] == "moody"]
        assert [row[8] for row in sorted(rows, key=lambda row: row[4])] == [f"bar {n}" for n in range(1, 61)]
        _, ((fault,),) = await database.read("SELECT fault FROM analyzer_watermarks WHERE analyzer_id = 'moody'")
        assert fault == ""


async def test_an_analyzer_that_does_not_read_its_own_snapshot_is_at_fault(url: str, tmp_path: Path) -> None:
    file = tmp_path / "moody.py"
    file.write_text(MOODY.replace('self.count = state["count"]', "raise InvalidInput('no')"), encoding="utf-8")
    file.write_text(f"from escapement.errors import InvalidInput\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
    plugin = find_analyzer(str(file))
    async with await DBHandler.open(url) as database, Workers(1) as workers:
        await database.store_bars(walk(SERIES[0], 60))

        async def plan() -> list[Planned]:
            return list(Run(str(file), plugin, {MINUTE: plugin.params_type()}, workers=workers).on(SERIES[:1]))

        service = Analysis(AnalysisStore(database), None, plan, AnalyzeParams(chunk_bars=10))
        await service.catch_up()
        assert (service.statistics().rewinds, service.statistics().faults) == (1, 1)
        _, ((fault,),) = await database.read("SELECT fault FROM analyzer_watermarks")
        assert fault == "it does not read its own snapshot: no"


async def test_an_analyzer_that_is_stuck_in_a_worker_holds_up_neither_others_nor_the_end(
    url: str, tmp_path: Path
) -> None:
    file = tmp_path / "moody.py"
    file.write_text(MOODY.replace("os.kill(os.getpid(), 9)", "__import__('time').sleep(1_000)"), encoding="utf-8")
    (tmp_path / "die").touch()
    plugin = find_analyzer(str(file))
    bars = walk(SERIES[0], 60)
    sound = Run("trend_starts", find_analyzer("trend_starts"), {MINUTE: TrendStartsParams()})
    async with await DBHandler.open(url) as database, Workers(1) as workers:
        await database.store_bars(bars)
        stuck = Run(str(file), plugin, {MINUTE: plugin.params({"folder": str(tmp_path)})}, workers=workers)

        async def plan() -> list[Planned]:
            return [each for run in (stuck, sound) for each in run.on(SERIES[:1])]

        service = Analysis(AnalysisStore(database), None, plan, AnalyzeParams(0.05, grace_s=0.2))
        async with running(service):
            await until_holding(database, [row for row in expected(bars) if row[0] == "trend_starts"])


@pytest.mark.parametrize("times", ["once", "always"])
async def test_a_worker_process_that_dies_costs_nothing_but_the_call(url: str, tmp_path: Path, times: str) -> None:
    bars = walk(SERIES[0], 60)
    (tmp_path / "die").touch()
    (tmp_path / times).touch()
    async with (
        await DBHandler.open(url) as database, Workers(1) as workers,
        moody_and_other(database, tmp_path, workers) as service,
    ):  # fmt: skip
        await database.store_bars(bars)

        async def is_told() -> bool:
            return times == "once" or service.statistics().faults > 0

        await until(is_told)
        if times == "always":
            assert counted(await holding(database), "moody") == 20
            (tmp_path / "once").touch()

        async def all_is_done() -> bool:
            return counted(await holding(database), "moody") == len(bars)

        await until(all_is_done)
        assert not (tmp_path / "die").exists()
        rows = [row for row in await holding(database) if row[0] == "moody"]
        assert [row[8] for row in sorted(rows, key=lambda row: row[4])] == [f"bar {n}" for n in range(1, 61)]


async def test_another_version_reads_everything_anew_and_leaves_the_old_signals_alone(url: str, tmp_path: Path) -> None:
    bars = walk(SERIES[0], 60)
    async with await DBHandler.open(url) as database:
        await database.store_bars(bars)
        for version in (1, 2):
            file = tmp_path / f"moody{version}.py"
            file.write_text(MOODY.replace("version = 1", f"version = {version}"), encoding="utf-8")
            plugin = find_analyzer(str(file))
            run = Run(str(file), plugin, {MINUTE: plugin.params_type()})

            async def plan(run: Run = run) -> list[Planned]:
                return list(run.on(SERIES[:1]))

            await Analysis(AnalysisStore(database), None, plan).catch_up()
        signals = await stored(database)
        assert sorted(each.key.version for each in signals) == [1] * 60 + [2] * 60
        assert {each.superseded_ns for each in signals} == {None}
