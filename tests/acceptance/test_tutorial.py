"""The tutorial as a newcomer follows it: every command word for word, in its order, to trades on paper."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import blocks
from escapement.settings import setting_paths

ROOT = Path(__file__).parents[2]
BLOCKS = [(kind, text) for kind, text in blocks(ROOT / "docs" / "tutorial.md") if kind.startswith("sh")]
# Tells each command that fails; what was meant to be looked at may say by its exit code that something is not well yet.
TELLING = "trap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n"
MAY_FAIL = "escapement gaps"


class Newcomer:
    """Somebody in a folder with the sources, who types what the tutorial says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {"HOME": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        if "dashboard.port" in setting_paths():
            self.variables["ESCAPEMENT_DASHBOARD__PORT"] = "0"  # the usual one may be taken on this machine
        self.terminals: list[subprocess.Popen[bytes]] = []
        for name in ("Makefile", "pyproject.toml", "requirements.txt", ".env.example"):
            shutil.copyfile(ROOT / name, folder / name)
            os.utime(folder / name, (1, 1))  # older than what is installed, so that make has nothing to do
        shutil.copytree(ROOT / "config", folder / "config")
        (folder / ".venv").symlink_to(sys.prefix)

    def leave_running(self, text: str) -> None:
        """Type it into a terminal of its own."""
        with self.log(len(self.terminals)).open("wb") as log:
            self.terminals.append(
                subprocess.Popen(
                    ["bash", "-c", f"exec {text}"], cwd=self.folder, env=self.variables, stdout=log, stderr=log
                )
            )

    def log(self, terminal: int) -> Path:
        return self.folder / f"terminal{terminal}.log"

    def type(self, text: str) -> str:
        """Type it and read what comes; no command may fail."""
        done = subprocess.run(
            ["bash", "-c", TELLING + text], check=False, capture_output=True, text=True, cwd=self.folder,
            env=self.variables, timeout=200,
        )  # fmt: skip
        failed = [line for line in done.stderr.splitlines() if line.startswith("failed: ") and MAY_FAIL not in line]
        assert failed == [], f"{text}{done.stdout}{done.stderr}"
        return done.stdout

    def listed(self, *words: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            [".venv/bin/escapement", *words, "--json"], check=False, capture_output=True, text=True, cwd=self.folder,
            env=self.variables,
        )  # fmt: skip
        found: list[dict[str, Any]] = json.loads(done.stdout) if done.returncode == 0 else []
        return found

    def wait_for_a_trade(self) -> str:
        """Wait until one was closed; return the id of a decision."""
        deadline = time.monotonic() + 120
        while not self.listed("trades"):
            assert time.monotonic() < deadline, "nothing was traded"
            time.sleep(1)
        return str(self.listed("decisions", "list")[-1]["decision_id"])


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    if not (Path(sys.prefix) / ".installed").exists():
        pytest.skip("the tests do not run in an environment made by make")
    somebody = Newcomer(tmp_path)
    yield somebody
    for each in somebody.terminals:
        each.kill()
        each.wait()


@pytest.mark.timeout(400)
def test_the_tutorial_leads_from_nothing_to_trades_on_paper(newcomer: Newcomer) -> None:
    told = decision_id = ""
    for kind, text in BLOCKS:
        if "left running" in kind:
            newcomer.leave_running(text)
        else:
            if len(newcomer.terminals) == 2 and not decision_id:
                decision_id = newcomer.wait_for_a_trade()
            told += newcomer.type(text.replace("ID\n", f"{decision_id}\n"))
    running = newcomer.terminals[1]
    running.send_signal(signal.SIGINT)
    assert running.wait(100) == 0, newcomer.log(1).read_text()
    for word in ("The settings can be used", "uptrendStart", "reverse", "paper", "trend_starts"):
        assert word in told
    assert "demo-key-0001" not in told + newcomer.log(1).read_text()
    assert "<svg" in (newcomer.folder / "report.html").read_text(encoding="utf-8")
