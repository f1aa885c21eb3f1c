"""What every test can ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real market data."""
    named = os.environ.get("ESCAPEMENT_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    assert folder.is_dir(), f"{folder} with the market data is missing; name it with ESCAPEMENT_SHARED"
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine has no data for, except in CI, where that is a failure."""
    if os.environ.get("CI") or os.environ.get("ESCAPEMENT_SHARED") or (Path(__file__).parents[2] / "shared").is_dir():
        return
    left_out = [item for item in items if item.get_closest_marker("shared")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
