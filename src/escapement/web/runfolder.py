"""The folder of one run: what was wished, how it stands, and what came of it."""

from __future__ import annotations

import csv
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import psutil
import yaml

from escapement.web.runwish import RunDetails, RunKind, RunShown, RunState, RunWish

_NAME: Final = re.compile(r"[0-9]{8}-[0-9]{6}-(?:backtest|sweep)-[0-9a-f]{6}")
_NOTE, _REPORT, _PAGE, _LOG = "run.json", "report.json", "report.html", "log.txt"
_SUMMARY, _TABLE, _RESULTS = "summary.json", "table.csv", "results.jsonl"
_ALIVE: Final = (RunState.WAITING, RunState.RUNNING)
_MOST_LOG: Final = 20_000
_MOST_POINTS: Final = 5_000
# Tells this process from one before it: in a container each has the same number.
_RUN: Final = secrets.token_hex(8)


def is_name(name: str) -> bool:
    """Whether a name is that of a run, and so of a folder among the runs and nowhere else."""
    return _NAME.fullmatch(name) is not None


class RunFolder:
    """Reads and writes a run's files; what cannot be read is as if it were not there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def log_file(self) -> Path:
        """What the program writes."""
        return self.path / _LOG

    @property
    def page(self) -> Path | None:
        """The report to look at, None without one."""
        file = self.path / _PAGE
        return file if file.is_file() else None

    def begin(self, wish: RunWish, settings: Mapping[str, Any]) -> None:
        """Make the folder, with what is to be run."""
        self.path.mkdir(parents=True, mode=0o700)
        text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
        (self.path / "settings.yaml").write_text(text, encoding="utf-8")
        self._write({"wish": asdict(wish), "made_at": datetime.now(UTC).isoformat(), "state": RunState.WAITING})

    def stands(self, state: RunState, words: str = "") -> None:
        """Take note of how the run stands."""
        ended = {} if state in _ALIVE else {"ended_at": datetime.now(UTC).isoformat(), "figures": self._figures()}
        self._write({**self._note(), "state": state, "words": words, **ended})

    def shown(self) -> RunShown | None:
        """Return the run, None where the folder holds none."""
        note = self._note()
        try:
            wish, made_at = note["wish"], datetime.fromisoformat(note["made_at"])
            kind, state = RunKind(wish["kind"]), RunState(note["state"])
            ended_at = None if note.get("ended_at") is None else datetime.fromisoformat(note["ended_at"])
            words = str(note.get("words", ""))
            if state in _ALIVE and not _is_alive(note.get("owner")):
                state, words = RunState.FAILED, "the dashboard that ran it ended"
            contracts = ", ".join(wish["contracts"]) or "contracts of the settings"
            over = "" if not wish["over"] else f" over {', '.join(wish['over'])}"
            title = f"{contracts}, {wish['begin']} to {wish['end']}{over}"
            figures = note.get("figures", {})
            return RunShown(
                self.path.name, kind, state, made_at, ended_at, self._progress(kind, state, wish), title, figures,
                words, self.page is not None,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError):
            return None

    def details(self) -> RunDetails | None:
        """Return the run with all it told."""
        run = self.shown()
        if run is None:
            return None
        is_sweep = run.kind is RunKind.SWEEP
        over = tuple(self._note()["wish"]["over"] or ())
        report = self._json(_SUMMARY if is_sweep else _REPORT)
        return RunDetails(run, report, over, tuple(self._points()) if is_sweep else (), self._log())

    def _note(self) -> dict[str, Any]:
        return self._json(_NOTE)

    def _write(self, note: Mapping[str, Any]) -> None:
        temporary = self.path / f"{_NOTE}.new"
        temporary.write_bytes(orjson.dumps({**note, "owner": [os.getpid(), _RUN]}, option=orjson.OPT_INDENT_2))
        temporary.replace(self.path / _NOTE)

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = orjson.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def _log(self) -> str:
        try:
            text = self.log_file.read_bytes()[-_MOST_LOG:]
        except OSError:
            return ""
        return text.decode("utf-8", "replace")

    def last_words(self) -> str:
        """Return the last line that the program wrote."""
        lines = [line for line in self._log().splitlines() if line.strip()]
        return lines[-1][:500] if lines else ""

    def _figures(self) -> dict[str, float | int | None]:
        found = self._json(_REPORT).get("figures")
        if found is None:
            windows = self._json(_SUMMARY).get("windows") or [{}]
            found = windows[-1].get("out_of_sample") or windows[-1].get("in_sample") or {}
        return {name: value for name, value in found.items() if value is None or isinstance(value, int | float)}

    def _points(self) -> list[dict[str, Any]]:
        try:
            with (self.path / _TABLE).open(encoding="utf-8", newline="") as file:
                return [
                    {name: _number(text) for name, text in row.items() if name}
                    for row, _ in zip(csv.DictReader(file), range(_MOST_POINTS), strict=False)
                ]
        except (OSError, csv.Error):
            return []

    def _progress(self, kind: RunKind, state: RunState, wish: Mapping[str, Any]) -> float | None:
        if state is RunState.DONE:
            return 1.0
        if kind is not RunKind.SWEEP or state is not RunState.RUNNING:
            return None
        total = self._total(wish)
        try:
            with (self.path / _RESULTS).open("rb") as file:
                done = sum(1 for _ in file) - 1
        except OSError:
            return 0.0
        return None if not total else min(1.0, max(0, done) / total)

    def _total(self, wish: Mapping[str, Any]) -> int:
        """Return how many points are tried, which the first line of the results says."""
        try:
            with (self.path / _RESULTS).open("rb") as file:
                plan = orjson.loads(file.readline())
        except (OSError, ValueError):
            return 0
        trials = plan.get("plan", plan).get("trials", 0)
        return int(trials) * int(wish["windows"])


def _number(text: str | None) -> float | str | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _is_alive(owner: object) -> bool:
    match owner:
        case [int(process), str(run)]:
            return run == _RUN if process == os.getpid() else psutil.pid_exists(process)
        case _:
            return False
