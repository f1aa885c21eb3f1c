"""``escapement db`` as its users run it, on the embedded server and on one of their own."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from escapement.storage.embedded import embedded_server, is_running

SELECT_BARS = "SELECT contract_id, timestamp, close, whole, NULL AS nothing FROM ohlc_bars ORDER BY timestamp"
INSERT_BARS = """
INSERT INTO ohlc_bars
SELECT 'MES', '2025-03-17T13:30Z'::timestamptz + n * interval '1 minute', 2, 1, 5700.25, 5701, 5700, 5700.5, 42,
       '2025-03-17T13:31Z'::timestamptz + n * interval '1 minute', n <> 1
FROM generate_series(0, 2) AS n
"""


def environment(folder: Path, **variables: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    return {**plain, "ESCAPEMENT_DATA_DIR": str(folder / "data"), **variables}


def db(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "escapement", "db", *arguments], check=False, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, cwd=folder, env=environment(folder, **variables), timeout=100,
    )  # fmt: skip


def done(answer: subprocess.CompletedProcess[str]) -> str:
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_the_embedded_database_from_nothing_to_rows(tmp_path: Path) -> None:
    assert "schema is at revision" in done(db(tmp_path, "init"))
    with embedded_server(tmp_path / "data"):  # several programs at once
        url = done(db(tmp_path, "url")).strip()
        assert done(db(tmp_path, "psql", "-X", "-q", "-c", INSERT_BARS)) == ""
        state = json.loads(done(db(tmp_path, "status", "--json")))
        text = done(db(tmp_path, "status"))
        rows = list(csv.reader(io.StringIO(done(db(tmp_path, "query", SELECT_BARS)))))

        async def count() -> object:
            connection = await asyncpg.connect(url)
            try:
                return await connection.fetchval("SELECT count(*) FROM ohlc_bars")
            finally:
                await connection.close()

        assert asyncio.run(count()) == 3, "the printed URL leads to the same database"
    assert not is_running(tmp_path / "data")
    assert rows == [
        ["contract_id", "timestamp", "close", "whole", "nothing"],
        ["MES", "2025-03-17T13:30:00Z", "5700.5", "t", ""],
        ["MES", "2025-03-17T13:31:00Z", "5700.5", "f", ""],
        ["MES", "2025-03-17T13:32:00Z", "5700.5", "t", ""],
    ]
    assert (state["kind"], state["revision"]) == ("embedded", state["head"])
    assert state["timescale"]["hypertable"] is False
    assert [(s["contract_id"], s["timeframe"], s["bars"], s["not_whole"]) for s in state["series"]] == [
        ("MES", "1m", 3, 1)
    ]
    assert "embedded" in text
    assert "2025-03-17 13:30Z to 2025-03-17 13:32Z, 1 not whole" in text


def test_the_url_of_the_embedded_server_says_when_it_works(tmp_path: Path) -> None:
    answer = db(tmp_path, "url")
    assert answer.stdout.startswith("postgresql://")
    assert "runs only while a program uses it" in answer.stderr
    assert not is_running(tmp_path / "data")


def test_a_server_of_ones_own_gets_its_tables_by_init_only(tmp_path: Path, empty_database_url: str) -> None:
    named = {"DATABASE_URL": empty_database_url}
    state = json.loads(done(db(tmp_path, "status", "--json", **named)))
    assert (state["kind"], state["revision"], state["series"]) == ("external", None, [])
    assert "run escapement db init" in done(db(tmp_path, "status", **named))
    on_timescale = state["timescale"]["available"] is not None
    for _ in range(2):
        assert ("ohlc_bars is a hypertable" in done(db(tmp_path, "init", **named))) == on_timescale
    state = json.loads(done(db(tmp_path, "status", "--json", **named)))
    assert (state["revision"], state["timescale"]["hypertable"]) == (state["head"], on_timescale)
    assert done(db(tmp_path, "url", **named)).strip() == empty_database_url
    assert not (tmp_path / "data").exists()


def test_what_is_wished_of_timescaledb_is_put_in_force_or_told(tmp_path: Path, empty_database_url: str) -> None:
    named = {"DATABASE_URL": empty_database_url, "ESCAPEMENT_TIMESCALE__CHUNK_DAYS": "7"}
    answer = db(tmp_path, "init", ESCAPEMENT_TIMESCALE__KEEP_DAYS="900", **named)
    done(answer)
    state = json.loads(done(db(tmp_path, "status", "--json", **named)))
    text = done(db(tmp_path, "status", **named))
    warning = "warning: timescale.keep_days (900) has no effect: it needs TimescaleDB"
    assert (warning in answer.stderr) == (state["timescale"]["license"] != "timescale")
    if state["timescale"]["hypertable"]:
        assert state["chunks"]["chunk_days"] == 7
        assert f"{state['timescale']['edition']} edition: ohlc_bars is a hypertable" in text
        assert "chunks     0 of 7 days each" in text
        assert "\npolicy     " in text
    else:
        assert state["chunks"] is None
        assert "plain PostgreSQL serves" in text
    assert {table["name"] for table in state["tables"]} > {"ohlc_bars", "decisions", "orders"}
    assert "\nsize       " in text


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT * FROM nowhere", '"nowhere" does not exist'),
        ("DELETE FROM ohlc_bars", "read-only transaction"),
        ("SELECT 1; SELECT 2", "multiple commands"),
    ],
)
def test_a_query_that_cannot_be_run_is_one_message(url: str, tmp_path: Path, sql: str, says: str) -> None:
    answer = db(tmp_path, "query", sql, DATABASE_URL=url)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("command", "named", "code"),
    [
        (["init"], "postgresql://trader:hunter2@127.0.0.1:1/x", 1),
        (["query", "SELECT 1"], "postgresql://trader:hunter2@127.0.0.1:1/x", 1),
        (["init"], "postgresql://trader:hunter2@127.0.0.1:port/x", 2),
        (["status"], "postgresql://trader:hunter2@127.0.0.1:port/x", 2),
    ],
)
def test_a_database_that_is_away_is_one_message_without_the_password(
    tmp_path: Path, command: list[str], named: str, code: int
) -> None:
    answer = db(tmp_path, *command, DATABASE_URL=named)
    assert (answer.returncode, answer.stdout) == (code, "")
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert "hunter2" not in answer.stderr


def test_psql_gets_the_password_and_the_command_line_does_not(tmp_path: Path, empty_database_url: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "psql").write_text('#!/bin/sh\nprintf "%s\\n" "$PGPASSWORD" "$@"\nexit 3\n')
    (programs / "psql").chmod(0o755)
    parts = urlsplit(empty_database_url)
    plain = parts._replace(netloc=f"trader@{parts.netloc.rpartition('@')[2]}")
    secret = urlunsplit(plain._replace(netloc=plain.netloc.replace("@", ":s%40fe@")))
    answer = db(tmp_path, "psql", "-c", "x", DATABASE_URL=secret, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert answer.stdout.splitlines() == ["s@fe", "-c", "x", urlunsplit(plain)]
    assert answer.returncode == 3


def test_ctrl_c_is_for_psql(tmp_path: Path) -> None:
    name = f"sleep_{uuid4().hex}"
    with embedded_server(tmp_path / "data") as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "escapement", "db", "psql", "-X", "-q", "-A", "-t"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            env=environment(tmp_path), start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(f"SELECT pg_sleep(100) AS {name};\n")
        process.stdin.flush()
        asyncio.run(until_active(url, name))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, err = process.communicate(timeout=60)
    assert err.splitlines()[-1] == "ERROR:  canceling statement due to user request"
    assert process.returncode == 3, "psql's own code for a script that was cut short"


async def until_active(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    deadline = time.monotonic() + 30
    query = "SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1 AND pid <> pg_backend_pid()"
    while not await connection.fetch(query, f"%{name}%"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    await connection.close()
