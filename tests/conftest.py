"""What every test can ask for."""

from __future__ import annotations

import os
import shutil
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
    """Leave out what this machine has no data or no program for, except in CI, where that is a failure."""
    if os.environ.get("CI"):
        return
    absent = set()
    if not os.environ.get("ESCAPEMENT_SHARED") and not (Path(__file__).parents[2] / "shared").is_dir():
        absent.add("shared")
    if shutil.which("node") is None or not (Path(__file__).parent / "js" / "node_modules").is_dir():
        absent.add("node")
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in absent)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
