"""What every test can ask for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from escapement.storage import migrate
from escapement.storage.embedded import embedded_server
from filled import another_database, drop

TIMESCALE = "ESCAPEMENT_TEST_TIMESCALE_URL"


def pytest_configure(config: pytest.Config) -> None:
    """Give each run a folder of its own: runs at the same time would close a common one to each other's servers."""
    if config.option.basetemp is None:
        config.option.basetemp = str(Path(tempfile.mkdtemp(prefix="escapement-tests-")) / "run")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it again."""
    folder = Path(config.option.basetemp).parent
    if folder.name.startswith("escapement-tests-"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real market data."""
    named = os.environ.get("ESCAPEMENT_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    assert folder.is_dir(), f"{folder} with the market data is missing; name it with ESCAPEMENT_SHARED"
    return folder


@pytest.fixture(scope="session")
def embedded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An embedded server for the whole run."""
    with embedded_server(tmp_path_factory.mktemp("embedded")) as url:
        yield url


@pytest.fixture(params=["embedded", pytest.param("timescale", marks=pytest.mark.timescale)])
async def empty_database_url(request: pytest.FixtureRequest, embedded_url: str) -> AsyncIterator[str]:
    """A database of its own without tables, on the embedded server and on TimescaleDB."""
    server = embedded_url if request.param == "embedded" else os.environ.get(TIMESCALE)
    assert server, f"{TIMESCALE} names no server; tests/timescale/server.sh start makes one"
    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def url(empty_database_url: str) -> str:
    """A database of its own with our tables, on the embedded server and on TimescaleDB."""
    await migrate(empty_database_url)
    return empty_database_url


@pytest.fixture
async def other_url(empty_database_url: str) -> AsyncIterator[str]:
    """A second database without tables, on the same server."""
    url = await another_database(empty_database_url)
    yield url
    await drop(url)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine has no data or no program for, except in CI, where that is a failure."""
    absent = set()
    # Nobody has to have Python 3.12 beside the one that runs the tests, not even CI.
    if not (Path(__file__).parent / "projectxpy" / ".venv" / "bin" / "python").exists():
        absent.add("projectxpy")
    absent |= set() if os.environ.get("CI") else _absent_here()
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in absent)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _absent_here() -> set[str]:
    absent = set()
    if not os.environ.get("ESCAPEMENT_SHARED") and not (Path(__file__).parents[2] / "shared").is_dir():
        absent.add("shared")
    if shutil.which("node") is None or not (Path(__file__).parent / "js" / "node_modules").is_dir():
        absent.add("node")
    if shutil.which("chromium") is None:
        absent.add("chromium")
    if shutil.which("redis-server") is None:
        absent.add("redis")
    if not os.environ.get(TIMESCALE):
        absent.add("timescale")
    return absent
