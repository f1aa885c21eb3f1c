"""Trend starts on real bars, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from escapement.cli import app

COLUMNS = "trigger_bar,trigger_timestamp,bar,timestamp,signal_type,rule"


@pytest.mark.shared
@pytest.mark.parametrize("timeframe", ["1d", "4h"])
def test_signals_detect_gives_the_known_starts(timeframe: str, shared: Path, tmp_path: Path) -> None:
    bars, out = str(shared / f"data/mes_m25_{timeframe}.csv"), tmp_path / "out.csv"
    command = ["signals", "detect", bars, "--analyzer", "trend_starts", "--out", str(out)]
    done = CliRunner().invoke(app, [*command, "--columns", COLUMNS], catch_exceptions=False)
    assert done.exit_code == 0
    expected = (shared / f"golden/trend_starts_mes_m25_{timeframe}.csv").read_bytes()
    assert out.read_bytes() == expected
    # With all columns the price comes before the rule and nothing else changes.
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    rows = [line.split(",") for line in out.read_text(encoding="utf-8").splitlines()]
    assert rows[0][5] == "price"
    assert "".join(",".join((*row[:5], row[6])) + "\n" for row in rows).encode() == expected
