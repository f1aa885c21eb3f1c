"""Real bars through the whole chain: trade, bar, signal and decision, each in the database, as users run it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from escapement.settings import Settings, load_settings
from escapement.simulator import trades_from_bar_file
from escapement.storage import DBHandler
from escapement.storage.coordination import CoordinationStore
from offline import Row, bars_of, decisions_of, row
from programs import program, wait_for

MES = "CON.F.US.MES.M25"
EMBEDDED = pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
SETTINGS: dict[str, Any] = {
    "contracts": [MES],
    "timeframes": ["5m", "15m", "1h"],
    "ingest": {"clock": "stream"},
    "analyzers": {"run": ["trend_starts", {"name": "donchian_breakout", "timeframes": ["15m"]}]},
    "coordinator": {
        "entries": [{"rule": "strategic_tactical", "strategic": ["1h"], "tactical": ["5m", "15m"]}],
        "gates": [{"rule": "cooldown", "length": "30m"}],
        "exits": [{"rule": "opposite_signal", "timeframes": ["15m"]}],
        "patience_seconds": 600.0,
    },
    # Paper orders listen to the market too, and the simulated one begins with whoever listens first.
    "run": {"services": "ingest,analyze,coordinate"},
    "logging": {"level": "warning"},
}


@contextmanager
def started(folder: Path, url: str, base: str, *commands: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs, started from the command line, whose output goes to files."""
    gateway = {"api_url": base, "market_hub_url": f"{base}/hubs/market", "user_hub_url": f"{base}/hubs/user"}
    (folder / "settings.yaml").write_text(yaml.safe_dump({**SETTINGS, "gateway": gateway}))
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    own = {
        "DATABASE_URL": url, "ESCAPEMENT_SETTINGS": str(folder / "settings.yaml"), "PROJECTX_USERNAME": "demo",
        "PROJECTX_API_KEY": "demo-key-0001",
    }  # fmt: skip
    with ExitStack() as stack:
        programs = []
        for name in commands:
            output = stack.enter_context((folder / f"{name}.log").open("wb"))
            programs.append(
                subprocess.Popen(
                    [sys.executable, "-m", "escapement", *name.split()], stdout=output, stderr=output, cwd=folder,
                    env=plain | own,
                )
            )  # fmt: skip
            stack.callback(programs[-1].kill)
        yield programs


def first_days(shared: Path, folder: Path) -> Path:
    lines = (shared / "data" / "mes_m25_5m.csv").read_text().splitlines()
    file = folder / "bars.csv"
    file.write_text("\n".join(lines[:1_105]) + "\n")  # four sessions
    return file


async def decisions(url: str, wanted: Sequence[Row]) -> list[Row]:
    found: list[Row] = []
    async with await DBHandler.open(url) as database:
        store = CoordinationStore(database)
        try:
            async with asyncio.timeout(100):
                while (found := sorted(map(row, await store.decisions()))) != wanted:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return found
        assert all(each.data_complete for each in await store.decisions())
        for table in ("ohlc_bars", "detected_signals"):
            assert (await database.read(f"SELECT count(*) FROM {table}"))[1][0] > (100,)
    return found


def settings() -> Settings:
    return load_settings(environ={}, **SETTINGS)


@pytest.mark.shared
@pytest.mark.timeout(240)
@EMBEDDED
@pytest.mark.parametrize("commands", [["run"], ["ingest", "analyze", "coordinate"]])
def test_trades_become_bars_signals_and_decisions_in_one_process_or_one_each(
    tmp_path: Path, url: str, shared: Path, commands: list[str]
) -> None:
    file = first_days(shared, tmp_path)
    bars = bars_of(list(trades_from_bar_file(file, None)), [MES], settings().timeframes)
    expected = decisions_of(bars, settings())
    assert {each[2] for each in expected} >= {"enter_long", "enter_short", "reverse", "exit"}
    with program(tmp_path, "simulate", "--bars", str(file), "--speed", "0", "--port", "0") as venue:
        base = wait_for(venue, "stdout", r"api url +(\S+)")
        with started(tmp_path, url, base, *commands) as programs:
            found = asyncio.run(decisions(url, expected))
            for each in programs:
                each.send_signal(signal.SIGTERM)
            codes = [each.wait(60) for each in programs]
    logs = {name: (tmp_path / f"{name}.log").read_text() for name in commands}
    assert found == expected, logs
    assert codes == [0] * len(commands), logs
    assert "demo-key-0001" not in str(logs)


@EMBEDDED
def test_settings_that_cannot_work_are_refused_before_anything_starts(tmp_path: Path, url: str) -> None:
    def refused(**coordinator: object) -> str:
        told = json.dumps(coordinator.pop("entries", []))
        variables = {
            "DATABASE_URL": url, "ESCAPEMENT_CONTRACTS": MES, "ESCAPEMENT_TIMEFRAMES": "5m,1h",
            "ESCAPEMENT_COORDINATOR__ENTRIES": told,
        }  # fmt: skip
        with program(tmp_path, "coordinate", "--once", **variables) as done:
            out, err = done.communicate(timeout=60)
        assert (done.returncode, out) == (2, ""), err
        return err

    assert refused(entries=[{"rule": "confluence", "timeframes": ["15m", "1h"]}]) == (
        "error: coordinator.entries.0.timeframes 15m: no analyzer runs on it (they run on 5m, 1h); add it to "
        "timeframes and to that analyzer's, or leave it out here\n"
    )
    assert "timeframe '7x' is unknown" in refused(entries=[{"rule": "pass_through", "timeframes": ["7x"]}])
    weights = {"rule": "weighted", "timeframe_weights": {"1h": 2, "5m": 1}}
    assert refused(entries=[{**weights, "threshold": 2, "analyzer_weights": {"moving_average_crossover": 3}}]) == (
        "error: coordinator.entries.0.analyzer_weights 'moving_average_crossover' does not run (trend_starts); add it "
        "to analyzers.run\n"
    )
    assert refused(entries=[{**weights, "threshold": 3.5}]) == (
        "error: coordinator.entries.0.threshold 3.5 is impossible: all analyzers that run and have a weight reach 3 "
        "together; use less, or raise the weights\n"
    )
