"""``escapement bars aggregate`` as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from escapement.calendars import calendar_for_contract
from escapement.csvfiles import read_bars, read_trades
from escapement.model import Bar

ES = "CON.F.US.EP.H24"
MES = "CON.F.US.MES.M25"


def aggregate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "escapement", "bars", "aggregate", *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def bars_of(path: Path) -> dict[int, Bar]:
    return {bar.start_ns: bar for bar in read_bars(path, calendar_for_contract)}


@pytest.mark.shared
@pytest.mark.parametrize(("timeframe", "common", "equal"), [("1h", 835, 830), ("4h", 218, 216), ("1d", 37, 35)])
def test_real_five_minute_bars_give_the_venues_own_larger_bars(
    shared: Path, tmp_path: Path, timeframe: str, common: int, equal: int
) -> None:
    done = aggregate(shared / "data/mes_m25_5m.csv", "--timeframes", timeframe, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    ours = bars_of(tmp_path / f"{MES}_{timeframe}.csv")
    venues = bars_of(shared / f"data/mes_m25_{timeframe}.csv")
    covered = [start for start in venues if start <= max(ours)]
    assert sorted(ours) == sorted(covered)
    assert len(covered) == common
    same = [
        start
        for start in covered
        if (ours[start].open, ours[start].high, ours[start].low, ours[start].close)
        == (venues[start].open, venues[start].high, venues[start].low, venues[start].close)
    ]
    assert len(same) >= equal


@pytest.mark.shared
def test_real_trades_lose_no_volume(shared: Path, tmp_path: Path) -> None:
    file = shared / "data/es_h24_trades_20231225.csv"
    done = aggregate(file, "--timeframes", "1m,5m,1h,4h,1d", "--out", tmp_path, "--contract", ES)
    assert done.returncode == 0, done.stderr
    volume = sum(trade.volume for trade in read_trades(file, ES))
    for timeframe in ("1m", "5m", "1h", "4h", "1d"):
        assert sum(bar.volume for bar in bars_of(tmp_path / f"{ES}_{timeframe}.csv").values()) == volume


def test_trades_in_any_order_become_bars_and_the_output_says_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(
        "timestamp,price,volume,contract_id\n"
        f"2025-03-17T13:30:59Z,5700.5,1,{MES}\n2025-03-17T13:30:00Z,5700.25,2,{MES}\n2025-03-17T13:31:00Z,5701,4,{MES}\n"
    )
    done = aggregate(file, "--timeframes", "1m", "--out", tmp_path / "new" / "folder")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 1m bars of CON.F.US.MES.M25, 2025-03-17T13:30:00Z to 2025-03-17T13:31:00Z, volume 7" in done.stdout
    assert (tmp_path / f"new/folder/{MES}_1m.csv").read_text().splitlines()[1:] == [
        f"{MES},2025-03-17T13:30:00Z,2,1,5700.25,5700.5,5700.25,5700.5,3",
        f"{MES},2025-03-17T13:31:00Z,2,1,5701.0,5701.0,5701.0,5701.0,4",
    ]


FAULTS = [
    ("timestamp,price,volume\n2025-03-17T13:30:00Z,1,1\n", ["1m"], "line 2: contract_id is missing"),
    ("timestamp,price,volume\n2025-03-17T13:30:00Z,1,1\n", ["1m", "--contract", "X"], "'X' is of no known product"),
    ("timestamp,price,volume\n2025-03-17T13:30:00,1,1\n", ["1m", "--contract", ES], "no time zone"),
    ("timestamp,price,volume\n2025-03-15T13:30:00Z,1,1\n", ["1m", "--contract", ES], "outside every session"),
    (
        "timestamp,price,volume,contract_id\n2025-03-17T13:30:00Z,1,1,../X\n",
        ["1m", "--calendar", "cme_fx"],
        "contract '../X'",
    ),
    ("timestamp,price,volume\n", ["1m", "--contract", ES], "holds no rows"),
    ("a,b\n", ["1m"], "trades need timestamp,price,volume"),
    ("timestamp,price,volume\n", ["1x"], "timeframe '1x' is unknown"),
]


@pytest.mark.parametrize(("text", "arguments", "message"), FAULTS)
def test_a_fault_ends_with_code_2_and_one_clear_line(
    tmp_path: Path, text: str, arguments: list[str], message: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    done = aggregate(tmp_path / "t.csv", "--out", tmp_path, "--timeframes", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
