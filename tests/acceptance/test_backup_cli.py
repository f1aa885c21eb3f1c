"""``escapement db backup`` and ``escapement db restore`` as users run them, on both servers."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import asyncpg
import pytest

from escapement.storage import DBHandler, migrate, status_of
from escapement.storage.embedded import POSTGRES_BIN_PATH
from escapement.storage.programs import without_password
from filled import another_database, contents, db, done, drop, fill


async def test_a_restored_database_is_the_one_that_was_backed_up_row_by_row(
    tmp_path: Path, url: str, other_url: str
) -> None:
    await fill(url)
    file = tmp_path / "all.backup"
    assert "revision" in done(db(tmp_path, url, "backup", file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["all.backup"]  # noqa: PTH208 - so it blocks as little as stat
    before = await contents(url)
    assert all(before.values()), "no table is empty"
    assert "Restored: 12" in done(db(tmp_path, other_url, "restore", file))
    assert await contents(other_url) == before
    async with await DBHandler.open(url) as one, await DBHandler.open(other_url) as other:
        assert (await status_of(other)).timescale == (await status_of(one)).timescale
        # It goes on as the other would have: numbers follow, triggers work, chunks are made.
        number = "INSERT INTO kill_switch (killed, reason, by) VALUES (false, '', '') RETURNING switch_id"
        assert await other.pool.fetchval(number) == await one.pool.fetchval(number) == 2
        copy = """INSERT INTO ohlc_bars SELECT contract_id, timestamp + interval '100 days', timeframe_unit,
            timeframe_value, open, high, low, close, volume, ends_at + interval '100 days', whole FROM ohlc_bars"""
        assert await other.pool.execute(copy) == await one.pool.execute(copy)
        await other.pool.execute("UPDATE ohlc_bars SET volume = 0 WHERE timeframe_unit = 4")
        assert await other.pool.fetchval("SELECT count(*) FROM bar_revisions WHERE timeframe_unit = 4") == 16
    refused = db(tmp_path, other_url, "restore", file)
    assert refused.returncode == 1
    assert "is not empty (account_snapshots, " in refused.stderr
    assert "--replace" in refused.stderr
    done(db(tmp_path, other_url, "restore", file, "--replace"))
    assert await contents(other_url) == before


@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
async def test_a_backup_never_takes_the_place_of_a_file(tmp_path: Path, url: str) -> None:
    file = tmp_path / "all.backup"
    file.write_text("precious")
    answer = db(tmp_path, url, "backup", file)
    assert (answer.returncode, file.read_text()) == (2, "precious")
    assert "is there already" in answer.stderr
    nowhere = db(tmp_path, url, "backup", tmp_path / "no" / "folder")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (2, 1)


async def test_a_restore_that_fails_leaves_the_database_as_it_was(tmp_path: Path, url: str, other_url: str) -> None:
    await fill(url)
    await migrate(other_url)
    await fill(other_url, minutes=60)
    before = await contents(other_url)
    file = tmp_path / "all.backup"
    done(db(tmp_path, url, "backup", file))
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes(500) + whole[middle + 500 :])
    answer = db(tmp_path, other_url, "restore", file, "--replace")
    assert answer.returncode == 1
    assert "was not restored and the database is as it was" in answer.stderr
    assert await contents(other_url) == before
    file.write_bytes(whole[: len(whole) * 7 // 10])
    assert db(tmp_path, other_url, "restore", file, "--replace").returncode in {1, 2}
    assert await contents(other_url) == before
    file.write_bytes(whole)
    async with await DBHandler.open(other_url):  # as any program of ours
        answer = db(tmp_path, other_url, "restore", file, "--replace")
    assert answer.returncode == 1
    assert "escapement is at work on this database (1 connections); stop it first" in answer.stderr
    assert await contents(other_url) == before


@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
async def test_what_is_no_backup_of_ours_is_refused(tmp_path: Path, url: str, other_url: str) -> None:
    file = tmp_path / "file"
    for make, says in (
        (lambda: None, "is no file"),
        (lambda: file.write_text("something else"), "cannot be read as a backup"),
        (lambda: dump(other_url, file), "no backup of this program's tables"),
        (lambda: dump(url, file), "belongs to a newer version of this program (9999)"),
    ):
        if "9999" in says:
            connection = await asyncpg.connect(url)
            await connection.execute("UPDATE alembic_version SET version_num = '9999'")
            await connection.close()
        make()
        answer = db(tmp_path, other_url, "restore", file)
        assert answer.returncode in {1, 2}
        assert says in answer.stderr
        assert answer.stderr.count("\n") == 1
        file.unlink(missing_ok=True)
    assert await contents(other_url) == {}
    assert "run escapement db init" in db(tmp_path, other_url, "backup", file).stderr


def dump(url: str, file: Path) -> None:
    subprocess.run([POSTGRES_BIN_PATH / "pg_dump", "--format=custom", f"--file={file}", url], check=True)


@pytest.mark.timescale
@pytest.mark.parametrize("empty_database_url", ["timescale"], indirect=True)
async def test_a_backup_of_plain_postgresql_becomes_a_hypertable_and_not_the_other_way(
    tmp_path: Path, empty_database_url: str, embedded_url: str
) -> None:
    plain = await another_database(embedded_url)
    await migrate(plain)
    await fill(plain)
    before = await contents(plain)
    file = tmp_path / "plain.backup"
    done(db(tmp_path, plain, "backup", file))
    done(db(tmp_path, empty_database_url, "restore", file))
    assert await contents(empty_database_url) == before
    async with await DBHandler.open(empty_database_url) as database:
        assert (await status_of(database)).timescale.hypertable
    back = tmp_path / "timescale.backup"
    done(db(tmp_path, empty_database_url, "backup", back))
    answer = db(tmp_path, plain, "restore", back, "--replace")
    assert answer.returncode == 2
    assert "with TimescaleDB and this one has none" in answer.stderr
    assert await contents(plain) == before
    await drop(plain)


@pytest.mark.parametrize(
    ("url", "place", "secret"),
    [
        ("postgresql://me:a%40b@host:5/db", "postgresql://me@host:5/db", "a@b"),
        ("postgresql://me@host/db?password=a%20b&sslmode=require", "postgresql://me@host/db?sslmode=require", "a b"),
        (
            "postgresql:///db?host=%2Frun%2Fpostgresql&user=me&password=c",
            "postgresql:///db?host=/run/postgresql&user=me",
            "c",
        ),
        ("postgresql://me@host/db?sslmode=require", "postgresql://me@host/db?sslmode=require", None),
    ],
)
def test_no_password_stands_on_a_command_line(url: str, place: str, secret: str | None) -> None:
    assert without_password(url) == (place, {} if secret is None else {"PGPASSWORD": secret})
