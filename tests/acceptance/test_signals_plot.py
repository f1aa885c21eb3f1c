"""``escapement signals plot`` as a user runs it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

HEADER = "contract_id,timestamp,timeframe_unit,timeframe_value,open,high,low,close,volume\n"


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    file = tmp_path / "bars.csv"
    lines = []
    for minute in range(40):
        opened, close = 5700 + minute % 7, 5700 + (minute + 1) % 7
        prices = f"{opened},{max(opened, close) + minute % 3},{min(opened, close) - minute % 2},{close}"
        lines.append(f"CON.F.US.MES.M25,2025-03-17T14:{minute:02}:00Z,2,1,{prices},1\n")
    file.write_text(HEADER + "".join(lines))
    return file


def plot(bars: Path, out: Path, *options: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "escapement", "signals", "plot", str(bars), "--out", str(out), *options],
        check=False, capture_output=True, text=True, timeout=60, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_picture_shows_more_with_signals_than_without(bars: Path, tmp_path: Path) -> None:
    assert plot(bars, tmp_path / "with.png", "--analyzer", "trend_starts") == (0, f"{tmp_path}/with.png: 40 bars\n")
    plot(bars, tmp_path / "without.png", "--analyzer", "donchian_breakout", "--param", "length=39")
    picture = (tmp_path / "with.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", picture[16:24])
    assert min(width, height) > 500
    assert len(picture) > len((tmp_path / "without.png").read_bytes()) + 1_000


def test_a_page_holds_everything_it_needs(bars: Path, tmp_path: Path) -> None:
    assert plot(bars, tmp_path / "c.html", "--analyzer", "trend_starts", "--last", "0")[0] == 0
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "<script src" not in page
    assert "<link" not in page
    for text in ("CON.F.US.MES.M25 1m: trend_starts", "uptrendStart", "downtrendStart", "2025-03-17 14:39"):
        assert text in page


def test_only_the_last_bars_are_drawn_when_asked(bars: Path, tmp_path: Path) -> None:
    assert plot(bars, tmp_path / "c.html", "--analyzer", "trend_starts", "--last", "10")[1].endswith(": 10 bars\n")
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "2025-03-17 14:30" in page
    assert "2025-03-17 14:29" not in page


def test_another_ending_or_a_missing_library_is_told(bars: Path, tmp_path: Path) -> None:
    code, text = plot(bars, tmp_path / "c.gif", "--analyzer", "trend_starts")
    assert (code, ".png nor .html" in text) == (2, True)
    blocked = tmp_path / "blocked" / "matplotlib.py"
    blocked.parent.mkdir()
    blocked.write_text("raise ModuleNotFoundError('gone', name='matplotlib')\n")
    path = os.pathsep.join(filter(None, (str(blocked.parent), os.environ.get("PYTHONPATH"))))
    code, text = plot(bars, tmp_path / "c.png", "--analyzer", "trend_starts", environment={"PYTHONPATH": path})
    assert code == 2
    assert "pip install 'escapement[charts]'" in text
