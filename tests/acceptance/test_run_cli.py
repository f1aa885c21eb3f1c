"""``escapement run`` and ``escapement services`` as their users run them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from escapement.ports import ServiceHealth
from escapement.storage import DBHandler, migrate
from escapement.storage.embedded import embedded_server
from escapement.storage.health import HealthStore
from programs import program, venue_variables, wait_for

MES = "CON.F.US.MES.M25"
NAMES = ["analyze", "coordinate", "dashboard", "execute", "ingest"]


def escapement(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    return subprocess.run(
        [sys.executable, "-m", "escapement", *arguments], check=False, capture_output=True, text=True, cwd=folder,
        env={**plain, "ESCAPEMENT_DATA_DIR": str(folder / "data"), **variables}, timeout=60,
    )  # fmt: skip


def until(condition: Callable[[], Any], within_s: float = 60) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)
    return found


def states(folder: Path) -> dict[str, str]:
    answer = escapement(folder, "services", "--json")
    return {each["service"]: each["state"] for each in json.loads(answer.stdout)} if answer.stdout else {}


def count(folder: Path, sql: str) -> int:
    answer = escapement(folder, "db", "query", sql)
    return int(answer.stdout.splitlines()[1]) if answer.returncode == 0 else 0


def test_services_run_together_survive_their_database_and_end_in_order(tmp_path: Path) -> None:
    with program(tmp_path, "simulate", "--contract", MES, "--speed", "120", "--port", "0") as venue:
        base = wait_for(venue, "stdout", r"api url +(\S+)")
        settings = {**venue_variables(base), "ESCAPEMENT_CONTRACTS": MES, "ESCAPEMENT_LOGGING__LEVEL": "error"}
        with program(tmp_path, "run", **settings) as running:
            until(lambda: states(tmp_path) == dict.fromkeys(NAMES, "running"))
            until(lambda: count(tmp_path, "SELECT count(*) FROM decisions"))
            server = tmp_path / "data" / "postgres" / "postmaster.pid"
            os.kill(int(server.read_text().splitlines()[0]), signal.SIGKILL)
            before = until(lambda: count(tmp_path, "SELECT count(*) FROM decisions"))
            until(lambda: count(tmp_path, "SELECT count(*) FROM decisions") > before)
            until(lambda: states(tmp_path) == dict.fromkeys(NAMES, "running"))
            shown = escapement(tmp_path, "services")
            assert shown.returncode == 0
            assert [line.split()[0] for line in shown.stdout.splitlines()] == ["service", *NAMES]
            running.send_signal(signal.SIGTERM)
            out, err = running.communicate(timeout=60)
        assert (running.returncode, out) == (0, ""), err
        assert "demo-key-0001" not in err
    assert states(tmp_path) == dict.fromkeys(NAMES, "stopped")
    assert escapement(tmp_path, "services").returncode == 0
    # What ingestion stored last was analysed before the end.
    unread = count(
        tmp_path,
        "SELECT count(*) FROM ohlc_bars AS bar JOIN analyzer_watermarks AS kept USING (contract_id) "
        "WHERE bar.timestamp > kept.last_processed_timestamp",
    )
    assert unread == 0


def test_a_process_that_is_gone_without_a_word_is_told(tmp_path: Path) -> None:
    async def left_behind() -> None:
        with embedded_server(tmp_path / "data") as url:
            await migrate(url)
            async with await DBHandler.open(url) as database:
                await HealthStore(database).put(
                    "here:1",
                    [
                        ServiceHealth("ingest", "running", 10**18, 1, "was away"),
                        ServiceHealth("analyze", "stopped", 10**18, 0, ""),
                    ],
                )
                await database.pool.execute("UPDATE service_health SET heartbeat_at = now() - interval '1 hour'")

    asyncio.run(left_behind())
    shown = escapement(tmp_path, "services")
    assert shown.returncode == 1
    assert re.search(r"ingest +silent for 36\d\d s +2001-09-09 01:46:40Z +1 +here:1 +was away", shown.stdout), (
        shown.stdout
    )
    assert re.search(r"analyze +stopped", shown.stdout)


def test_settings_of_every_service_are_refused_before_anything_starts(tmp_path: Path) -> None:
    answer = escapement(
        tmp_path,
        "run",
        ESCAPEMENT_CONTRACTS=MES,
        ESCAPEMENT_COORDINATOR__EXITS="{rule: opposite_signal, timeframes: [2h]}",
    )
    assert answer.returncode == 2
    assert [line.split(" ")[1] for line in answer.stderr.splitlines()] == [
        "gateway.user_name", "gateway.api_key", "coordinator.exits.0.timeframes",
    ]  # fmt: skip
    assert not (tmp_path / "data").exists()
    answer = escapement(tmp_path, "run", "--services", "ingest,trade")
    assert answer.returncode == 2
    known = "'ingest', 'analyze', 'coordinate', 'execute', 'dashboard', 'notify' or 'operations'"
    assert f"run.services.1 'trade': should be {known}" in answer.stderr


def test_a_database_that_hangs_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    with embedded_server(tmp_path / "hanging") as url:
        asyncio.run(migrate(url))
        server = psutil.Process(int((tmp_path / "hanging" / "postgres" / "postmaster.pid").read_text().split()[0]))
        variables = {
            **venue_variables("http://127.0.0.1:1"), "DATABASE_URL": url, "ESCAPEMENT_CONTRACTS": MES,
            "ESCAPEMENT_RUN__GRACE_SECONDS": "1000",
        }  # fmt: skip
        with program(tmp_path, "run", "--services", "analyze,coordinate", **variables) as running:
            wait_for(running, "stderr", "contract_added")
            frozen = [server, *server.children(recursive=True)]
            for each in frozen:
                each.suspend()
            try:
                wait_for(running, "stderr", "doorbell_lost")
                running.send_signal(signal.SIGTERM)
                wait_for(running, "stderr", '"stopping"')
                running.send_signal(signal.SIGTERM)
                _, err = running.communicate(timeout=30)
            finally:
                for each in frozen:
                    if each.is_running():
                        each.resume()
    assert running.returncode == 1, err
    assert '"left_behind"' in err


def test_before_anything_ran_it_says_so(tmp_path: Path) -> None:
    answer = escapement(tmp_path, "services")
    assert (answer.returncode, answer.stdout) == (0, "No service was ever run with escapement run.\n")


def test_it_waits_for_a_database_server_that_is_away(tmp_path: Path) -> None:
    variables = {
        **venue_variables("http://127.0.0.1:1"), "DATABASE_URL": "postgresql://trader@127.0.0.1:1/x",
        "ESCAPEMENT_CONTRACTS": MES, "ESCAPEMENT_RUN__FIRST_DELAY_SECONDS": "0.1",
    }  # fmt: skip
    with program(tmp_path, "run", "--services", "analyze", **variables) as running:
        for _ in range(2):
            wait_for(running, "stderr", "service_restarts")
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
