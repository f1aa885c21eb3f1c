"""What a run's folder says of it once the dashboard that ran it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from escapement.web.runfolder import RunFolder
from escapement.web.runwish import RunKind, RunState, RunWish


def test_a_run_ended_with_its_dashboard_although_the_next_one_has_the_same_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(RunWish(RunKind.BACKTEST, "2025-03-17", "2025-03-18"), {})
    folder.stands(RunState.RUNNING)
    shown = folder.shown()
    assert shown is not None
    assert shown.state is RunState.RUNNING
    monkeypatch.setattr("escapement.web.runfolder._RUN", "the next one")
    shown = folder.shown()
    assert shown is not None
    assert (shown.state, shown.words) == (RunState.FAILED, "the dashboard that ran it ended")
