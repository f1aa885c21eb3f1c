"""``escapement sweep`` as users run it: it chooses, goes on after a kill, and finds the same whoever does the work."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from escapement import wiring_backtest, wiring_sweep
from escapement.csvfiles import write_bars
from escapement.settings import load_settings
from pasts import walk
from programs import program

SETTINGS = """
timeframes: [5m, 15m, 1h]
analyzers: {run: [{name: moving_average_crossover, params: {fast: 5, slow: 20}}]}
coordinator: {entries: [{rule: pass_through}]}
execution: {stop_ticks: 20, target_ticks: 60}
"""
FEW = "--over", "execution.stop_ticks=10,20,40", "--over", "analyzers.run.0.params.fast=5,10", "--objective", "net"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sweep")
    write_bars(made / "bars.csv", walk(1_600))
    (made / "settings.yaml").write_text(SETTINGS)
    return made


def run(folder: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    with program(folder, "--settings", "settings.yaml", "sweep", "--bars", "bars.csv", *arguments) as done:
        out, err = done.communicate()
    assert done.returncode == code, err
    return out, err


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name / "summary.json").read_text())
    return found


@pytest.fixture(scope="module")
def alone(folder: Path) -> str:
    run(folder, *FEW, "--workers", "1", "--out", "alone")
    return (folder / "alone" / "table.csv").read_text()


@pytest.mark.usefixtures("alone")
def test_the_best_of_the_table_is_chosen_and_tried_on_new_days(folder: Path) -> None:
    found = table(folder, "alone")
    chosen_on = [row for row in found if row["part"] == "chosen"]
    (tried,) = [row for row in found if row["part"] == "tried"]
    assert len(chosen_on) == 6
    best = max(chosen_on, key=lambda row: float(row["net"]))
    assert tried["execution.stop_ticks"] == best["execution.stop_ticks"]
    told = summary(folder, "alone")
    (window,) = told["windows"]
    assert window["point"]["execution.stop_ticks"] == int(best["execution.stop_ticks"])
    assert window["in_sample"]["net"] == float(best["net"])
    assert window["out_of_sample"]["net"] == float(tried["net"]) == told["out_of_sample_net"]
    assert window["from"] < window["split"] < window["to"]
    page = (folder / "alone" / "report.html").read_text()
    assert "execution.stop_ticks" in page
    assert "http-equiv" not in page
    assert 'src="http' not in page


@pytest.mark.usefixtures("alone")
def test_a_point_is_what_the_backtest_of_its_settings_over_its_stretch_is(folder: Path) -> None:
    window = summary(folder, "alone")["windows"][0]
    for row in (table(folder, "alone")[0], table(folder, "alone")[-1]):
        is_tried = row["part"] == "tried"
        fast, stop = row["analyzers.run.0.params.fast"], row["execution.stop_ticks"]
        analyzer = f"analyzers.run=[{{name: moving_average_crossover, params: {{fast: {fast}, slow: 20}}}}]"
        with program(
            folder, "--settings", "settings.yaml", "backtest", "--bars", "bars.csv", "--json", "-", "--no-check",
            "--from", window["split" if is_tried else "from"], "--to", window["to" if is_tried else "split"],
            "--set", f"execution.stop_ticks={stop}", "--set", analyzer,
        ) as done:  # fmt: skip
            told = json.loads(done.communicate()[0])["figures"]
        assert told["trades"] == int(row["trades"]) > 0
        assert told["net"] == pytest.approx(float(row["net"]))
        assert told["max_drawdown"] == pytest.approx(float(row["max_drawdown"]))


def test_two_processes_find_what_one_finds(folder: Path, alone: str) -> None:
    run(folder, *FEW, "--workers", "2", "--out", "two")
    assert (folder / "two" / "table.csv").read_text() == alone


def test_a_killed_sweep_goes_on_and_ends_as_if_nothing_had_been(folder: Path, alone: str) -> None:
    out = folder / "killed" / "results.jsonl"
    arguments = "--settings", "settings.yaml", "sweep", "--bars", "bars.csv", *FEW, "--workers", "1", "--out", "killed"
    with program(folder, *arguments) as process:
        until = time.monotonic() + 60
        while not out.exists() or out.read_bytes().count(b"\n") < 3:
            assert time.monotonic() < until
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = out.read_bytes()
    assert not (folder / "killed" / "table.csv").exists()
    _, err = run(folder, *FEW, "--workers", "1", "--out", "killed")
    assert "results are there already; going on" in err
    assert out.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert out.read_bytes().count(b"\n") == 1 + len(table(folder, "killed"))
    assert (folder / "killed" / "table.csv").read_text() == alone


@contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    started = [
        subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard"],
                         cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
        subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1",
                          "--nworkers", "2", "--no-dashboard"],
                         cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
    ]  # fmt: skip
    try:
        from distributed import Client  # noqa: PLC0415 - it is slow to load

        with Client(address, timeout="60s") as client:
            client.wait_for_workers(2, timeout=60)
        yield address
    finally:
        for each in reversed(started):
            each.terminate()
        for each in started:
            each.wait(30)


@pytest.mark.timeout(240)
def test_a_cluster_of_dask_finds_the_same_table(folder: Path, alone: str) -> None:
    with dask_cluster(folder) as address:
        run(folder, *FEW, "--dask", address, "--out", "dask")
    assert (folder / "dask" / "table.csv").read_text() == alone


@pytest.mark.timeout(240)
def test_a_cluster_of_ray_finds_the_same_table(folder: Path, alone: str) -> None:
    run(folder, *FEW, "--ray", "local", "--out", "ray")
    assert (folder / "ray" / "table.csv").read_text() == alone


def test_optuna_walks_forward_and_ends_the_same_with_any_workers(folder: Path) -> None:
    wanted = (
        "--method", "optuna", "--trials", "10", "--windows", "2", "--objective", "net", "--seed", "4",
        "--over", "execution.stop_ticks=10..60..5", "--over", "execution.target_ticks=20..120..10",
    )  # fmt: skip
    run(folder, *wanted, "--workers", "1", "--out", "one_optuna")
    run(folder, *wanted, "--workers", "2", "--out", "two_optuna")
    assert (folder / "one_optuna" / "table.csv").read_text() == (folder / "two_optuna" / "table.csv").read_text()
    told = summary(folder, "one_optuna")["windows"]
    assert len(told) == 2
    assert told[0]["to"] == told[1]["split"]


def test_analyzers_read_once_for_all_that_does_not_change_them(folder: Path) -> None:
    settings = load_settings(folder / "settings.yaml", environ={})
    bars = wiring_backtest.read_bar_files([folder / "bars.csv"], settings)
    own, histories = wiring_backtest.from_bars(settings, bars, wiring_backtest.Ticks())
    work = wiring_sweep.PointWork(wiring_sweep.plain(own), histories)
    from_ns, to_ns = wiring_backtest.extent(histories)
    middle = (from_ns + to_ns) // 2
    for stop in (10, 20, 30):
        for begin, end in ((from_ns, middle), (middle, to_ns)):
            work({"execution.stop_ticks": stop}, begin, end)
    assert work.readings == 3  # one a timeframe
    work({"analyzers.run.0.params.fast": 7}, from_ns, to_ns)
    assert work.readings == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--over", "execution.stop=1,2"], "execution.stop is no setting"),
        (["--over", "execution.stop_ticks=1,1"], "stands there twice"),
        (["--over", "logging.level=info,debug"], "logging.level changes nothing in a backtest"),
        (["--over", "execution.stop_ticks=1", "--over", "execution.stop_ticks=2"], "named twice"),
        (["--over", "analyzers.run.4.params.fast=1,2"], "places 0 to 0"),
        (["--over", "execution.stop_ticks=10,20", "--windows", "90"], "too few for 90 windows"),
        (["--over", "execution.stop_ticks=1..900", "--over", "execution.target_ticks=1..900"], "810,000 points"),
        (["--over", "execution.stop_ticks=10,20", "--workers", "2", "--ray", "local"], "both named"),
    ],
)
def test_what_cannot_be_searched_is_said_in_a_line(folder: Path, arguments: list[str], said: str) -> None:
    _, err = run(folder, *arguments, "--out", f"never{os.getpid()}", code=2)
    assert said in err
    assert "Traceback" not in err
    assert not (folder / f"never{os.getpid()}").exists()


def test_settings_that_cannot_be_traded_are_a_row_and_a_warning(folder: Path) -> None:
    _, err = run(folder, "--over", "execution.stop_ticks=-5,20", "--objective", "net", "--workers", "1", "--out", "bad")
    assert "1 trials could not be traded; the first: execution.stop_ticks" in err
    assert sum(bool(row["error"]) for row in table(folder, "bad")) == 1


def test_another_sweep_does_not_mix_with_what_is_there(folder: Path, alone: str) -> None:
    _, err = run(folder, *FEW, "--seed", "9", "--workers", "1", "--out", "alone", code=2)
    assert "holds another search (seed differ)" in err
    assert (folder / "alone" / "table.csv").read_text() == alone
