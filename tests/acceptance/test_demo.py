"""``escapement demo`` as a newcomer runs it."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from escapement.csvfiles import read_trades

ES = "CON.F.US.EP.H24"
TIMEFRAMES = ["1m", "5m", "15m", "1h", "4h", "1d"]
UNITS = {"1": "s", "2": "m", "3": "h", "4": "d"}


def escapement(data_dir: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    return subprocess.run(
        [sys.executable, "-m", "escapement", *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=100, cwd=data_dir,
        env={**plain, "ESCAPEMENT_DATA_DIR": str(data_dir), "ESCAPEMENT_DASHBOARD__PORT": "0"},
    )  # fmt: skip


def stored(data_dir: Path) -> dict[str, list[list[str]]]:
    """Rows of ohlc_bars by timeframe, without what only the database knows."""
    columns = "contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, volume"
    done = escapement(data_dir, "db", "query", f"SELECT {columns} FROM ohlc_bars ORDER BY 3, 4, 1, 2")
    assert done.returncode == 0, done.stderr
    rows: dict[str, list[list[str]]] = {}
    for row in list(csv.reader(done.stdout.splitlines()))[1:]:
        rows.setdefault(row[3] + UNITS[row[2]], []).append(normal(row))
    return rows


def normal(row: list[str]) -> list[str]:
    return [*row[:4], *(repr(float(price)) for price in row[4:8]), row[8]]


def test_the_demo_stores_bars_of_every_timeframe_trades_and_a_second_one_adds_none(tmp_path: Path) -> None:
    first = escapement(tmp_path, "demo")
    assert first.returncode == 0, first.stderr
    assert "3,556 bars" in first.stdout
    assert "3,556 were new" in first.stdout
    assert re.search(r"^dashboard: http://127\.0\.0\.1:\d+$", first.stdout, re.MULTILINE)
    assert str(tmp_path / "postgres") in first.stdout
    signals, decisions = re.findall(
        r"^([\d,]+) (?:signals|decisions) \(.*\), ([\d,]+) of them new", first.stdout, re.MULTILINE
    )
    assert signals[0] == signals[1] > "1,000"
    assert decisions[0] == decisions[1]
    named = re.search(r"escapement decisions why (\w+)", first.stdout)
    assert named
    why = escapement(tmp_path, "decisions", "why", named[1])
    assert why.returncode == 0, why.stderr
    assert "All trades up to then were known to be in the bars." in why.stdout
    fills, account = re.findall(r"^(\d+) fills on paper; .* --account (\S+)$", first.stdout, re.MULTILINE)[0]
    made = escapement(tmp_path, "pnl", "--account", account)
    assert int(fills) > 2
    assert "2025-03-17" in made.stdout, made.stderr
    rows = stored(tmp_path)
    assert {timeframe: len(rows[timeframe]) for timeframe in TIMEFRAMES} == {
        "1m": 2_760, "5m": 552, "15m": 184, "1h": 46, "4h": 12, "1d": 2,
    }  # fmt: skip
    second = escapement(tmp_path, "demo", "--speed", "0")
    assert "; 0 were new" in second.stdout
    assert f"{signals[0]} signals" in second.stdout
    assert second.stdout.count(", 0 of them new.") == 2
    assert stored(tmp_path) == rows


@pytest.mark.shared
def test_real_trades_through_the_demo_equal_the_offline_bars_and_a_second_run_adds_no_row(
    shared: Path, tmp_path: Path
) -> None:
    file = shared / "data/es_h24_trades_20231225.csv"
    data = tmp_path / "data"
    data.mkdir()
    done = escapement(data, "demo", "--trades", file, "--contract", ES, "--speed", "0")
    assert done.returncode == 0, done.stderr
    assert "2,973 trades" in done.stdout
    rows = stored(data)
    offline = escapement(
        data, "bars", "aggregate", file, "--contract", ES, "--timeframes", ",".join(TIMEFRAMES), "--out", tmp_path
    )
    assert offline.returncode == 0, offline.stderr
    volume = sum(trade.volume for trade in read_trades(file, ES))
    for timeframe in TIMEFRAMES:
        lines = list(csv.reader((tmp_path / f"{ES}_{timeframe}.csv").read_text().splitlines()))[1:]
        assert rows[timeframe] == [normal(line) for line in lines]
        assert sum(int(row[8]) for row in rows[timeframe]) == volume
    again = escapement(data, "demo", "--trades", file, "--contract", ES, "--speed", "0")
    assert "; 0 were new" in again.stdout
    assert stored(data) == rows


@pytest.mark.shared
def test_real_bars_are_replayed_as_trades_that_rebuild_them(shared: Path, tmp_path: Path) -> None:
    source = (shared / "data/mes_m25_5m.csv").read_text().splitlines()
    part = tmp_path / "part.csv"
    part.write_text("\n".join(source[:600]) + "\n")
    done = escapement(tmp_path, "demo", "--bars", part, "--speed", "0")
    assert done.returncode == 0, done.stderr
    assert stored(tmp_path)["5m"] == [normal(row) for row in csv.reader(source[1:600])]


def test_a_file_without_a_contract_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("timestamp,price,volume\n2025-03-17T13:30:00Z,5700,1\n")
    done = escapement(tmp_path, "demo", "--trades", tmp_path / "t.csv")
    assert done.returncode == 2
    assert "name the contract with --contract" in done.stderr
