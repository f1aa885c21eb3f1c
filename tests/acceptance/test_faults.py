"""A short part of what ``make faults`` runs at length: nothing is missing, whatever goes wrong or is killed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).parents[2] / "soak"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=280, check=False, cwd=SOAK
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_half_an_hour_with_every_fault_is_complete_in_the_end() -> None:
    said = run("faults.py", "--seeds", "31", "--hours", "0.5", "--speed", "120")
    assert re.search(r"82 bars, 0 wrong, 0 gaps open, 0 of 3,556 intervals unknown", said), said


def test_half_an_hour_of_kills_is_complete_in_the_end() -> None:
    said = run("kills.py", "--seed", "31", "--kills", "3", "--hours", "0.5", "--speed", "120", "--longest", "3")
    assert re.search(r"82 bars, 0 wrong, 0 gaps open, 0 of 3,556 intervals unknown", said), said
