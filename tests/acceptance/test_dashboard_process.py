"""The dashboard beside what trades: a process of its own that may fail, and that ends with the program."""

from __future__ import annotations

import csv
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from escapement.moments import iso_from_ns
from programs import program, wait_for
from shown import dashboard
from simulated import MES, MONDAY_1330, tape


def until(condition: Callable[[], object], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/api/v1/me", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_run_starts_a_dashboard_that_died_again_and_takes_it_along_when_it_is_killed(tmp_path: Path) -> None:
    own = {"ESCAPEMENT_RUN__FIRST_DELAY_SECONDS": "0.2"}
    with program(tmp_path, "run", "--services", "dashboard", **own) as running:
        address = wait_for(running, "stderr", r'"address": "(http[^"]+)".*"event": "dashboard_ready"')
        assert answers(address)
        children = psutil.Process(running.pid).children()
        (child,) = (each for each in children if "multiprocessing.spawn" in " ".join(each.cmdline()))
        child.kill()
        again = wait_for(running, "stderr", r'"address": "(http[^"]+)".*"event": "dashboard_ready"')
        until(lambda: answers(again))
        os.kill(running.pid, signal.SIGKILL)
        until(lambda: not answers(again))


def test_run_ends_its_dashboard_in_good_order(tmp_path: Path) -> None:
    with program(tmp_path, "run", "--services", "dashboard") as running:
        address = wait_for(running, "stderr", r'"address": "(http[^"]+)".*"event": "dashboard_ready"')
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (0, "")
    assert "dashboard_stopped" in err
    assert not answers(address)


def test_an_address_that_is_taken_is_told_and_does_not_end_the_others(tmp_path: Path) -> None:
    with dashboard(tmp_path) as client:
        taken = {"ESCAPEMENT_DASHBOARD__PORT": str(client.base_url.port), "ESCAPEMENT_RUN__FIRST_DELAY_SECONDS": "0.2"}
        with program(tmp_path, "run", "--services", "dashboard", **taken) as running:
            for _ in range(2):
                assert "name another" in wait_for(running, "stderr", r"(.*service_restarts.*)")
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=30)
        assert running.returncode == 0


def test_a_database_that_dies_is_told_and_seen_again_when_it_is_back(tmp_path: Path) -> None:
    with dashboard(tmp_path, ESCAPEMENT_LOGGING__LEVEL="error") as client:
        assert client.get("/api/v1/contracts").status_code == 200
        server = tmp_path / "data" / "postgres" / "postmaster.pid"
        os.kill(int(server.read_text().splitlines()[0]), signal.SIGKILL)
        seen: list[int] = []

        def is_back() -> bool:
            seen.append(client.get("/api/v1/contracts").status_code)
            return len(seen) > 5 and seen[-5:] == [200] * 5

        until(is_back)
        assert set(seen) <= {200, 503}


def test_a_demonstration_goes_on_showing_itself_when_asked_to(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["timestamp", "price", "volume"])
        prices = [5_000 + n % 40 / 4 for n in range(400)]
        writer.writerows(
            [iso_from_ns(trade.at_ns), trade.price, trade.volume] for trade in tape(*prices, start_ns=MONDAY_1330)
        )
    arguments = ("demo", "--keep", "--trades", str(file), "--contract", MES)
    with program(tmp_path, *arguments) as shown:
        said = wait_for(shown, "stdout", r"(dashboard: http\S+|goes on until)")
        other = wait_for(shown, "stdout", r"(dashboard: http\S+|goes on until)")  # in either order
        (address,) = re.findall(r"http\S+", f"{said} {other}")
        bars = httpx.get(f"{address}/api/v1/contracts/{MES}/candles", params={"timeframe": "1m"}, timeout=20).json()
        assert len(bars["candles"]) >= 6
        health = httpx.get(f"{address}/readyz", timeout=20)
        failed = {each["name"]: each["value"] for each in health.json()["checks"] if not each["ok"]}
        chain = "ingest", "analyze", "coordinate", "execute"
        assert (health.status_code, failed) == (503, {f"service {name}": "stopped" for name in chain})
        shown.send_signal(signal.SIGINT)
        shown.communicate(timeout=30)
        assert shown.returncode == 0
        assert not answers(address)
