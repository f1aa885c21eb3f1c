"""``escapement analyze`` and ``escapement signals list`` as their users run them."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from escapement.model import NS_PER_SECOND, Bar, Timeframe
from escapement.moments import iso_from_ns, ns_from_iso
from escapement.storage import DBHandler
from programs import program, wait_for

MES = "CON.F.US.MES.M25"
START = ns_from_iso("2025-03-17T13:30:00Z")
# The tables are the same on every server, and each run of the program takes a while.
EMBEDDED = pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
HEADER = "contract_id,timestamp,timeframe_unit,timeframe_value,open,high,low,close,volume"
SETTINGS = {"ESCAPEMENT_CONTRACTS": MES, "ESCAPEMENT_TIMEFRAMES": "1m", "ESCAPEMENT_LOGGING__FORMAT": "json"}


def walk(count: int) -> list[Bar]:
    chance = random.Random(5)
    price = 22_000
    found = []
    for n in range(count):
        prices = [price := price + chance.randint(-6, 6) for _ in range(4)]
        start = START + n * 60 * NS_PER_SECOND
        found.append(
            Bar(MES, Timeframe.parse("1m"), start, start + 60 * NS_PER_SECOND, prices[0] / 4, max(prices) / 4,
                min(prices) / 4, prices[3] / 4, n)
        )  # fmt: skip
    return found


def run(folder: Path, url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    return subprocess.run(
        [sys.executable, "-m", "escapement", *arguments], check=False, capture_output=True, text=True, cwd=folder,
        env=plain | SETTINGS | {"DATABASE_URL": url} | variables, timeout=100,
    )  # fmt: skip


def store(url: str, bars: Sequence[Bar]) -> None:
    async def connected() -> None:
        async with await DBHandler.open(url) as database:
            await database.store_bars(bars)

    asyncio.run(connected())


def listed(folder: Path, url: str, *arguments: str) -> list[dict[str, Any]]:
    answer = run(folder, url, "signals", "list", "--json", "--last", "0", *arguments)
    assert (answer.returncode, answer.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def write_csv(path: Path, bars: Sequence[Bar]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["contract_id", "timestamp", "timeframe_unit", "timeframe_value", "open", "high", "low", "close", "volume"]
        )
        for bar in bars:
            writer.writerow(
                [bar.contract_id, iso_from_ns(bar.start_ns), 2, 1, bar.open, bar.high, bar.low, bar.close, bar.volume]
            )


@EMBEDDED
def test_the_stored_signals_are_those_of_signals_detect(tmp_path: Path, url: str) -> None:
    bars = walk(400)
    store(url, bars)
    answer = run(tmp_path, url, "analyze", "--once")
    assert answer.returncode == 0, answer.stderr
    stopped = json.loads(answer.stderr.splitlines()[-1])
    assert (stopped["event"], stopped["bars"]) == ("analyze_stopped", 400)
    write_csv(tmp_path / "bars.csv", bars)
    detected = run(tmp_path, url, "signals", "detect", "bars.csv", "--analyzer", "trend_starts", "--out", "-")
    columns = "trigger_timestamp", "timestamp", "signal_type", "price", "rule"
    offline = [tuple(row[name] for name in columns) for row in csv.DictReader(detected.stdout.splitlines())]
    found = listed(tmp_path, url)
    assert [tuple(str(row[name]) for name in columns) for row in found] == offline
    assert len(offline) == stopped["signals"] > 50

    ups = listed(tmp_path, url, "--type", "uptrendStart", "--timeframe", "1m", "--analyzer", "trend_starts")
    assert ups == [row for row in found if row["signal_type"] == "uptrendStart"]
    middle = found[20]["known_at"]
    assert listed(tmp_path, url, "--from", middle) == [row for row in found if row["known_at"] >= middle]
    assert listed(tmp_path, url, "--to", middle, "--contract", MES) == [r for r in found if r["known_at"] < middle]
    assert listed(tmp_path, url, "--contract", "ES") == []
    text = run(tmp_path, url, "signals", "list", "--last", "3").stdout.splitlines()
    assert len(text) == 4
    assert text[-1].split()[:2] == [str(found[-1]["signal_id"]), found[-1]["known_at"]]


@EMBEDDED
def test_it_runs_until_it_is_stopped_and_goes_on_after_kill_9(tmp_path: Path, url: str) -> None:
    bars = walk(300)
    for part in range(3):
        with program(tmp_path, "analyze", DATABASE_URL=url, **SETTINGS) as process:
            wait_for(process, "stderr", "analyze_started")
            store(url, bars[: 100 * (part + 1)])
            if part < 2:
                process.kill()
                continue
            deadline = time.monotonic() + 30
            while not (found := listed(tmp_path, url)) or found[-1]["known_at"] < iso_from_ns(bars[280].end_ns):
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGTERM)
            wait_for(process, "stderr", "analyze_stopped")
            assert process.wait(20) == 0
    found = listed(tmp_path, url)
    fresh = run(tmp_path, url, "db", "query", "SELECT count(*) FROM detected_signals WHERE superseded_at IS NOT NULL")
    assert fresh.stdout.split() == ["count", "0"]
    write_csv(tmp_path / "bars.csv", bars)
    detected = run(tmp_path, url, "signals", "detect", "bars.csv", "--analyzer", "trend_starts", "--out", "-")
    assert len(found) == len(detected.stdout.splitlines()) - 1


@EMBEDDED
@pytest.mark.parametrize("ended", [signal.SIGTERM, signal.SIGKILL])
def test_worker_processes_end_with_it_however_it_ends(tmp_path: Path, url: str, ended: signal.Signals) -> None:
    (tmp_path / "settings.yaml").write_text("analyzers: {run: [{name: trend_starts, in_worker: true}]}")
    store(url, walk(100))
    with program(tmp_path, "--settings", "settings.yaml", "analyze", DATABASE_URL=url, **SETTINGS) as process:
        deadline = time.monotonic() + 30
        while not listed(tmp_path, url):
            assert time.monotonic() < deadline
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        process.send_signal(ended)
        assert process.wait(20) == (0 if ended == signal.SIGTERM else -signal.SIGKILL)
        _, left = psutil.wait_procs(workers, timeout=10)
        assert left == []


@EMBEDDED
def test_an_analyzer_that_fails_is_told_by_the_exit_code_of_once(tmp_path: Path, url: str) -> None:
    store(url, walk(20))
    made = run(tmp_path, url, "analyzers", "new", "my_rules")
    assert made.returncode == 0
    file = tmp_path / "my_rules.py"
    text = file.read_text(encoding="utf-8")
    for broken in (False, True):
        if broken:
            file.write_text(
                text.replace("self._closes.append(bar.close)", "1 / 0").replace("= 1  # raise", "= 2  # raise")
            )
        answer = run(tmp_path, url, "analyze", "--once", ESCAPEMENT_ANALYZERS__RUN="my_rules.py")
        assert answer.returncode == int(broken)
        assert ("ZeroDivisionError" in answer.stderr) == broken
    assert {row["version"] for row in listed(tmp_path, url, "--analyzer", "my_rules")} == {1}


def test_what_cannot_run_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    for variables, fault in (
        ({"ESCAPEMENT_ANALYZERS__RUN": "trend_stars"}, "did you mean trend_starts?"),
        ({"ESCAPEMENT_CONTRACTS": ""}, "contracts is empty"),
    ):
        answer = run(tmp_path, "postgresql://nobody@127.0.0.1:1/nothing", "analyze", **variables)
        assert answer.returncode == 2
        assert fault in answer.stderr
    checked = run(tmp_path, "", "config", "check", ESCAPEMENT_ANALYZERS__RUN="trend_stars")
    assert (checked.returncode, "did you mean trend_starts?" in checked.stderr) == (2, True)
