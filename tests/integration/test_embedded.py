"""The embedded server through everything that happens to programs and machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from escapement.errors import ConfigurationError
from escapement.storage.embedded import embedded_server, is_running, revive

HOLD = """
import sys
from pathlib import Path
from escapement.storage.embedded import embedded_server
with embedded_server(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.readline()
"""


def holder(data_dir: Path) -> subprocess.Popen[str]:
    """Another program that uses the server until a line arrives."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("postgresql://"):
            return process
    raise AssertionError("the other program ended before it had a server")


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


async def ask(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres/postmaster.pid").read_text().splitlines()[0])


async def test_two_programs_share_one_server_and_the_last_one_stops_it(tmp_path: Path) -> None:
    first = holder(tmp_path)
    second = holder(tmp_path)
    pid = server_pid(tmp_path)
    end(first)
    assert is_running(tmp_path)
    with embedded_server(tmp_path) as url:
        assert server_pid(tmp_path) == pid
        end(second)
        assert await ask(url, "SELECT 1") == 1
    assert not is_running(tmp_path)


async def test_a_killed_program_leaves_nothing_that_keeps_the_server_alive(tmp_path: Path) -> None:
    killed = holder(tmp_path)
    killed.kill()
    killed.communicate()
    assert is_running(tmp_path)
    with embedded_server(tmp_path) as url:
        assert await ask(url, "SELECT 1") == 1
    assert not is_running(tmp_path)


async def test_a_killed_server_comes_back_with_its_data(tmp_path: Path) -> None:
    with embedded_server(tmp_path) as url:
        await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(server_pid(tmp_path), signal.SIGKILL)
        until(lambda: not is_running(tmp_path))
        assert revive(tmp_path)
        assert not revive(tmp_path)
        assert await ask(url, "SELECT answer FROM kept") == 42
    assert not is_running(tmp_path)
    assert not revive(tmp_path), "nobody uses it any more"
    assert not is_running(tmp_path)


async def test_a_stale_pid_file_that_names_another_program_is_no_hindrance(tmp_path: Path) -> None:
    with embedded_server(tmp_path):
        lines = (tmp_path / "postgres/postmaster.pid").read_text()
    stale = lines.replace(lines.splitlines()[0], str(os.getpid()), 1)
    (tmp_path / "postgres/postmaster.pid").write_text(stale)
    with embedded_server(tmp_path) as url:
        assert await ask(url, "SELECT 1") == 1


async def test_a_first_start_that_was_cut_short_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres.new/base").mkdir(parents=True)
    (tmp_path / "postgres.new/PG_VERSION").write_text("18\n")
    with embedded_server(tmp_path) as url:
        assert await ask(url, "SELECT 1") == 1
    assert not (tmp_path / "postgres.new").exists()


def test_data_of_another_major_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/PG_VERSION").write_text("14\n")
    with (
        pytest.raises(ConfigurationError, match=r"written by PostgreSQL 14, this program carries 18.*dump it"),
        embedded_server(tmp_path),
    ):
        pass
    assert [path.name for path in (tmp_path / "postgres").iterdir()] == ["PG_VERSION"]


def test_a_directory_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/thesis.txt").write_text("ten years of work")
    with pytest.raises(ConfigurationError, match="neither empty nor a database"), embedded_server(tmp_path):
        pass
    assert (tmp_path / "postgres/thesis.txt").read_text() == "ten years of work"


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="ESCAPEMENT_DATA_DIR"), embedded_server(tmp_path / "file"):
        pass


async def test_a_path_too_long_for_a_socket_works_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 20) / ("path" * 20)
    deep.mkdir(parents=True)
    with embedded_server(deep) as url:
        assert await ask(url, "SELECT 1") == 1
    assert not is_running(deep)
