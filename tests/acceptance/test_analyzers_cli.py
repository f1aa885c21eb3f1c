"""``escapement analyzers`` and ``escapement signals`` as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MES = "CON.F.US.MES.M25"
HEADER = "contract_id,timestamp,timeframe_unit,timeframe_value,open,high,low,close,volume\n"
CLOSES = [5700.0, 5701.0, 5702.0, 5699.0, 5698.0, 5703.0, 5704.0, 5697.0, 5696.0, 5705.0]


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "escapement", *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=60, cwd=cwd,
    )  # fmt: skip


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    file = tmp_path / "bars.csv"
    before = CLOSES[0]
    lines = []
    for minute, close in enumerate(CLOSES * 5):
        prices = f"{before},{max(before, close) + 0.25},{min(before, close) - 0.25},{close}"
        lines.append(f"{MES},2025-03-17T14:{minute:02}:00Z,2,1,{prices},1\n")
        before = close
    file.write_text(HEADER + "".join(lines))
    return file


def test_a_new_analyzer_works_its_test_passes_and_it_is_found_honest(bars: Path, tmp_path: Path) -> None:
    made = run("analyzers", "new", "my_rules", "--folder", tmp_path / "mine")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.splitlines() == [
        f"wrote {tmp_path}/mine/my_rules.py",
        f"wrote {tmp_path}/mine/test_my_rules.py",
    ]
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_rules.py"],
        check=False, capture_output=True, text=True, cwd=tmp_path / "mine", timeout=60,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
    checked = run("analyzers", "check", tmp_path / "mine/my_rules.py", "--bars", bars, "--param", "length=3")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len([line for line in checked.stdout.splitlines() if line.startswith("proved ")]) == 5
    again = run("analyzers", "new", "my_rules", "--folder", tmp_path / "mine")
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_a_planted_fault_ends_the_check_with_code_1_and_names_bar_and_kind(bars: Path, tmp_path: Path) -> None:
    run("analyzers", "new", "my_rules", cwd=tmp_path)
    file = tmp_path / "my_rules.py"
    text = file.read_text()
    file.write_text(text.replace('"closes": list(self._closes)}', '"closes": []}'))
    checked = run("analyzers", "check", file, "--bars", bars, "--param", "length=3")
    assert checked.returncode == 1
    assert (
        "found     hidden state at bar 4 (2025-03-17T14:03:00Z): saved and restored before, it says" in checked.stdout
    )
    file.write_text(text.replace("return self._length\n", "return 2\n"))
    checked = run("analyzers", "check", file, "--bars", bars, "--param", "length=3")
    assert "found     too short a warm-up at bar" in checked.stdout


def test_the_list_shows_what_is_built_in(tmp_path: Path) -> None:
    done = run("analyzers", "list", "--json", cwd=tmp_path)
    listed = json.loads(done.stdout)
    assert listed["faults"] == []
    assert {"donchian_breakout", "moving_average_crossover", "trend_starts"} <= {
        each["name"] for each in listed["analyzers"]
    }
    assert "fast=10 slow=30" in run("analyzers", "list").stdout


def test_analyzers_of_installed_packages_are_found_and_broken_ones_told(bars: Path, tmp_path: Path) -> None:
    run("analyzers", "new", "my_rules", cwd=tmp_path)
    info = tmp_path / "my_package-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[escapement.analyzers]\nmy_rules = my_rules:MyRules\nlost = nowhere:Lost\nother = my_rules:MyRules\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))),
    }

    def run_with_it(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "escapement", *arguments], check=False, capture_output=True, text=True,
            timeout=60, env=environment,
        )  # fmt: skip

    listed = run_with_it("analyzers", "list")
    assert listed.returncode == 1
    assert "package my-package 1.2" in listed.stdout
    assert "nowhere:Lost cannot be loaded" in listed.stderr
    assert "entry point other leads to my_rules" in listed.stderr
    done = run_with_it("signals", "detect", str(bars), "--analyzer", "my_rules", "--out", "-", "--param", "length=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == ("2,2025-03-17T14:01:00Z,2,2025-03-17T14:01:00Z,momentumUp,5701.0,MOMENTUM_1")


def test_crossings_and_breakouts_are_those_of_the_definitions(bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    params = ("--param", "fast=1", "--param", "slow=2")
    done = run("signals", "detect", bars, "--analyzer", "moving_average_crossover", *params, "--out", out)
    assert done.returncode == 0, done.stderr
    assert f"{out}: " in done.stdout
    crossed = [line.split(",")[0::4] for line in out.read_text().splitlines()[1:4]]
    assert crossed == [["4", "crossBelow"], ["6", "crossAbove"], ["8", "crossBelow"]]
    run("signals", "detect", bars, "--analyzer", "donchian_breakout", "--param", "length=3", "--out", out)
    broken = [line.split(",")[0::4] for line in out.read_text().splitlines()[1:5]]
    assert broken == [["4", "breakoutDown"], ["5", "breakoutDown"], ["6", "breakoutUp"], ["7", "breakoutUp"]]


FAULTS = [
    (["--analyzer", "trend_start"], "did you mean trend_starts?"),
    (["--analyzer", "nothing_like_it"], "there are donchian_breakout"),
    (["--analyzer", "gone.py"], "analyzer file gone.py is not there"),
    (["--analyzer", "broken.py"], "broken.py cannot be loaded: SyntaxError"),
    (["--analyzer", "empty.py"], "empty.py has no class with a method push"),
    (["--analyzer", "half.py"], "Half has no advance, snapshot, restore, warm_up_bars"),
    (["--analyzer", "donchian_breakout", "--param", "length=0"], "length 0 is no number of bars"),
    (["--analyzer", "donchian_breakout", "--param", "length=x"], "length 'x': Input should be a valid integer"),
    (["--analyzer", "donchian_breakout", "--param", "lenght=5"], "no parameter 'lenght'; did you mean length?"),
    (["--analyzer", "donchian_breakout", "--param", "5"], "'5' is not NAME=VALUE"),
    (["--analyzer", "moving_average_crossover", "--param", "slow=5"], "slow 5 is not more than fast 10"),
    (["--analyzer", "trend_starts", "--columns", "bar,colour"], "'colour' is unknown"),
    (["--analyzer", "trend_starts", "--out", "no/such/folder.csv"], "name a place that can be written"),
]


@pytest.mark.parametrize(("arguments", "message"), FAULTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_ends_with_code_2_and_one_clear_line(
    bars: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "broken.py").write_text("class (\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "half.py").write_text("class Half:\n    def push(self, bar):\n        return ()\n")
    done = run("signals", "detect", bars, "--out", "out.csv", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


BAD_FILES = [
    ("", "holds no rows"),
    (f"{MES},2025-03-17T14:01:00Z,2,1,1,1,1,1,1\n{MES},2025-03-17T14:00:00Z,2,1,1,1,1,1,1\n", "line 3: bar of"),
    (f"{MES},2025-03-17T14:00:00Z,2,1,1,1,1,1,1\n{MES},2025-03-17T14:05:00Z,2,5,1,1,1,1,1\n", "a file, of its own"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_FILES)
def test_bars_of_no_single_stream_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "bars.csv").write_text(HEADER + rows)
    done = run("signals", "detect", tmp_path / "bars.csv", "--analyzer", "trend_starts", "--out", tmp_path / "o.csv")
    assert done.returncode == 2
    assert message in done.stderr
