"""``escapement parity``: what was recorded live against the backtest of the same time, as users compare it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from escapement.csvfiles import write_bars
from pasts import walk
from programs import program, venue_variables, wait_for

MES = "CON.F.US.MES.M25"
pytestmark = [
    pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True),
    pytest.mark.timeout(240),
]
RULES = '[{rule: strategic_tactical, strategic: ["1h"], tactical: ["5m", "15m"]}]'


def ask(folder: Path, variables: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    done = subprocess.run(
        [sys.executable, "-m", "escapement", *arguments], check=False, capture_output=True, text=True, cwd=folder,
        env=plain | variables, timeout=100,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def differences(
    folder: Path, variables: dict[str, str], *arguments: str
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    code, out, err = ask(folder, variables, "parity", *arguments, "--json")
    assert code in {0, 1}, err
    assert out, err
    told = json.loads(out)
    assert code == bool(told["differences"])
    return told["compared"], told["differences"]


def execute(url: str, statement: str, *values: object) -> list[asyncpg.Record]:
    async def once() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    return asyncio.run(once())


def until(condition: Callable[[], Any], within_s: float = 100.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def test_what_was_decided_live_is_decided_again_and_what_was_changed_since_is_named(tmp_path: Path, url: str) -> None:
    some = walk(800)
    write_bars(tmp_path / "bars.csv", some)
    with program(tmp_path, "simulate", "--bars", "bars.csv", "--speed", "0", "--port", "0") as venue:
        base = wait_for(venue, "stdout", r"api url +(\S+)")
        variables = {
            **venue_variables(base), "ESCAPEMENT_CONTRACTS": MES, "DATABASE_URL": url,
            "ESCAPEMENT_TIMEFRAMES": "5m,15m,1h", "ESCAPEMENT_COORDINATOR__ENTRIES": RULES,
            "ESCAPEMENT_RUN__SERVICES": "ingest,analyze,coordinate",
        }  # fmt: skip
        span = "--from", "2025-03-17", "--to", "2025-03-19"
        with program(tmp_path, "run", **variables) as running:
            until(lambda: execute(url, "SELECT FROM decisions OFFSET 40"))
            until(lambda: ask(tmp_path, variables, "parity", *span)[0] == 0)
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0
    compared, found = differences(tmp_path, variables, *span)
    assert found == []
    assert compared["signals"] > 200
    assert compared["decisions"] > 40
    code, out, _ = ask(tmp_path, variables, "parity", *span)
    assert (code, out.startswith("Live and backtest agree: ")) == (0, True)

    # A decision that the coordinator never took.
    (row,) = execute(url, "SELECT decision_id FROM decisions ORDER BY known_at OFFSET 30 LIMIT 1")
    execute(url, "UPDATE decision_log SET decision_id = NULL WHERE decision_id = $1", row["decision_id"])
    execute(url, "DELETE FROM decisions WHERE decision_id = $1", row["decision_id"])
    _, found = differences(tmp_path, variables, *span)
    assert [(each["kind"], each["subject"], each["live"], each["cause"]) for each in found] == [
        ("decision", row["decision_id"][:16], "", "timing")
    ]
    code, out, _ = ask(tmp_path, variables, "parity", *span)
    assert code == 1
    assert "causes: timing 1" in out

    # A bar of the past is another now: what was found in it, and decided from it on, differs because of the data.
    execute(
        url,
        "UPDATE ohlc_bars SET high = high + 30, low = low - 30 WHERE timeframe_unit = 2 AND timeframe_value = 5 "
        "AND timestamp = (SELECT max(timestamp) - interval '6 hours' FROM ohlc_bars)",
    )
    _, found = differences(tmp_path, variables, *span)
    assert {"signal", "decision"} <= {each["kind"] for each in found}
    assert {each["cause"] for each in found if each["kind"] == "decision"} == {"timing", "data"}


def test_entries_that_were_traded_otherwise_are_named_with_their_cause(tmp_path: Path, url: str) -> None:
    with program(tmp_path, "simulate", "--contract", MES, "--speed", "60", "--port", "0") as venue:
        base = wait_for(venue, "stdout", r"api url +(\S+)")
        variables = {
            **venue_variables(base), "ESCAPEMENT_CONTRACTS": MES, "DATABASE_URL": url,
            "ESCAPEMENT_COORDINATOR__ENTRIES": "[pass_through]", "ESCAPEMENT_INGEST__REPLAY_SPEED": "60",
            "ESCAPEMENT_RISK__OLDEST_DECISION_SECONDS": "600", "ESCAPEMENT_RISK__OLDEST_PRICE_SECONDS": "600",
            "ESCAPEMENT_EXECUTION__STOP_TICKS": "4",
        }  # fmt: skip
        with program(tmp_path, "run", **variables) as running:
            until(lambda: len(execute(url, "SELECT FROM orders WHERE role = 'entry' AND status = 'filled'")) >= 4)
            assert ask(tmp_path, variables, "kill", "--reason", "lunch")[0] == 0
            until(lambda: execute(url, "SELECT FROM risk_checks WHERE code = 'blocked'"))
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0
    (row,) = execute(url, "SELECT min(known_at) AS first, max(known_at) AS last FROM decisions")
    span = "--from", row["first"].isoformat(), "--to", (row["last"] + timedelta(seconds=1)).isoformat()
    compared, found = differences(tmp_path, variables, *span)
    assert compared["entries"] >= 5
    entries = [each for each in found if each["kind"] == "entry"]
    assert {each["cause"] for each in found} <= {"fill", "timing", "refusal", "manual act", "data"}
    manual = [each for each in entries if each["cause"] == "manual act"]
    assert manual
    assert all(each["words"] == "trading was stopped: lunch" for each in manual)
    # Orders reached the simulated market later than they do in the backtest: at this speed a moment of ours is long.
    assert {each["subject"] for each in entries} <= {
        each["decision_id"][:16] for each in execute(url, "SELECT decision_id FROM decisions")
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--from and --to are needed"),
        (["--from", "2025-03-18", "--to", "2025-03-17"], "is not before --to"),
        (["--from", "2025-03-17", "--to", "2025-03-18"], "no signals were stored before --to"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(tmp_path: Path, url: str, arguments: list[str], said: str) -> None:
    code, out, err = ask(tmp_path, {"DATABASE_URL": url, "ESCAPEMENT_CONTRACTS": MES}, "parity", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
