"""``escapement db export`` and ``escapement db import`` as users run them, on both servers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from msgspec import structs

from escapement.errors import InvalidInput, StorageError
from escapement.model import BarSource, Gap, GapCause
from escapement.storage import DBHandler, migrate
from escapement.storage.archive import TABLES
from escapement.storage.archive_export import export_archive
from escapement.storage.archive_import import import_archive
from filled import CONTRACTS, HOUR_NS, MINUTE, START, contents, db, done, environment, fill, walk

NUMBERS = {"bar_revisions": "revision_id", "data_gaps": "gap_id"}
ARCHIVED = {table.name for table in TABLES}


async def market_data(url: str) -> dict[str, list[str]]:
    """What an archive keeps: all columns, except those that number the rows of one database."""
    return {name: rows for name, rows in (await contents(url, without=NUMBERS)).items() if name in ARCHIVED}


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_an_archive_holds_every_row_and_brings_it_back(tmp_path: Path, url: str, other_url: str) -> None:
    await fill(url)
    folder = tmp_path / "archive"
    first = done(db(tmp_path, url, "export", folder))
    before = await market_data(url)
    assert f"{sum(map(len, before.values())):,} rows" in first
    part = folder / "ohlc_bars" / f"contract_id={CONTRACTS[0]}" / "day=2025-03-04" / "part.parquet"
    assert part.is_file()
    files = files_in(folder)
    assert done(db(tmp_path, url, "export", folder)).endswith(f"{len(files)} files, 0 of them written now.\n")
    assert files_in(folder) == files
    # Any program that knows Parquet reads it as one table.
    whole = pyarrow.dataset.dataset(folder / "ohlc_bars", partitioning="hive").to_table()
    assert whole.num_rows == len(before["ohlc_bars"])
    assert set(pc.unique(whole["contract_id"]).to_pylist()) == set(CONTRACTS)
    await migrate(other_url)
    done(db(tmp_path, other_url, "import", folder))
    assert await market_data(other_url) == before
    assert ", 0 of them new" in done(db(tmp_path, other_url, "import", folder))
    assert await market_data(other_url) == before
    assert sum(map(len, before["bar_revisions"])) > 0


@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
async def test_only_what_changed_is_written_and_what_the_database_dropped_stays(tmp_path: Path, url: str) -> None:
    await fill(url)
    before = await market_data(url)
    folder = tmp_path / "archive"
    done(db(tmp_path, url, "export", folder))
    damaged = folder / "ohlc_bars" / f"contract_id={CONTRACTS[1]}" / "day=2025-03-03" / "part.parquet"
    damaged.write_bytes(damaged.read_bytes()[:1_000])
    connection = await asyncpg.connect(url)
    await connection.execute("DELETE FROM ohlc_bars WHERE timestamp < '2025-03-05Z' AND contract_id LIKE '%MES%'")
    assert ", 1 of them written now" in done(db(tmp_path, url, "export", folder))
    done(db(tmp_path, url, "export", folder, "--contract", CONTRACTS[0]))
    done(db(tmp_path, url, "import", folder))
    await connection.close()
    after = await market_data(url)
    assert after["ohlc_bars"] == before["ohlc_bars"]
    unknown = db(tmp_path, url, "export", folder, "--contract", "CON.F.US.NOPE.H25")
    assert unknown.returncode == 2
    assert "CON.F.US.NOPE.H25" in unknown.stderr


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - files and processes tell nobody
            await asyncio.sleep(0.005)


async def killed(folder: Path, url: str, command: str, archive: Path, condition: Callable[[], bool]) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220 - it is killed
        [sys.executable, "-m", "escapement", "db", command, str(archive)], cwd=folder, env=environment(folder, url),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    await until(lambda: condition() or process.poll() is not None)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was killed in the middle"


async def test_what_was_killed_in_the_middle_goes_on(tmp_path: Path, url: str, other_url: str) -> None:
    await fill(url, minutes=20_000)
    before = await market_data(url)
    folder = tmp_path / "archive"
    await killed(tmp_path, url, "export", folder, lambda: len(list(folder.rglob("*.parquet"))) > 5)
    assert ", 0 of them" not in done(db(tmp_path, url, "export", folder))
    await migrate(other_url)
    async with await DBHandler.open(other_url) as database:
        some = asyncio.Event()

        async def look() -> None:
            while not await database.pool.fetchval("SELECT EXISTS (SELECT FROM ohlc_bars)"):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            some.set()

        looking = asyncio.create_task(look())
        await killed(tmp_path, other_url, "import", folder, some.is_set)
        await looking
        assert 0 < await database.pool.fetchval("SELECT count(*) FROM ohlc_bars") < len(before["ohlc_bars"])
    done(db(tmp_path, other_url, "import", folder))
    assert await market_data(other_url) == before


async def test_bars_that_come_in_behind_others_are_told_to_analyzers(tmp_path: Path, url: str, other_url: str) -> None:
    old, new = walk(CONTRACTS[0], MINUTE, 200)[:100], walk(CONTRACTS[0], MINUTE, 200)[100:]
    async with await DBHandler.open(url) as database:
        await database.store_bars(old)
    folder = tmp_path / "archive"
    done(db(tmp_path, url, "export", folder))
    await migrate(other_url)
    heard: list[str] = []
    async with await DBHandler.open(other_url) as database:
        await database.store_bars(new)
        async with database.pool.acquire() as connection:
            await connection.add_listener("ohlc_bars", lambda *message: heard.append(message[3]))
            done(db(tmp_path, other_url, "import", folder))
            await until(lambda: bool(heard))
            await connection.reset()
        assert await database.bars_between(CONTRACTS[0], MINUTE, 0, START + HOUR_NS * 100) == [*old, *new]
        assert await database.pool.fetchval("SELECT count(*) FROM bar_revisions WHERE open IS NULL") == 100
    assert heard == [f"{CONTRACTS[0]} 1m"]


def misplaced(part: Path) -> None:
    other = part.parents[1] / "day=2025-03-05" / part.name
    other.parent.mkdir(exist_ok=True)
    part.rename(other)


def nowhere(part: Path) -> None:
    other = part.parents[1] / "yesterday" / part.name
    other.parent.mkdir()
    part.rename(other)


def rewritten(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def rewrite(part: Path) -> None:
        table = pq.read_table(part, partitioning=None)
        pq.write_table(change(table), part)

    return rewrite


def with_column(name: str, value: object) -> Callable[[Path], None]:
    def change(table: pa.Table) -> pa.Table:
        field = table.schema.field(name)
        values = pa.array([value, *table[name].to_pylist()[1:]], field.type)
        return table.set_column(table.schema.get_field_index(name), field, values)

    return rewritten(change)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda part: part.write_text("something else"), "cannot be read"),
        (lambda part: part.write_bytes(part.read_bytes()[:2_000]), "cannot be read"),
        (misplaced, "is not of the day 2025-03-05"),
        (nowhere, "does not lie in contract_id"),
        (rewritten(lambda table: table.replace_schema_metadata({})), "was not written by escapement db export"),
        (rewritten(lambda table: table.replace_schema_metadata({"escapement": "2"})), "comes from a newer version"),
        (rewritten(lambda table: table.drop_columns("whole")), "has the columns timestamp"),
        (rewritten(lambda table: pa.concat_tables([table, table.slice(0, 1)])), "ohlc_bars_unique"),
        (with_column("close", float("nan")), "ohlc_bars_check"),
        (with_column("low", 1e9), "ohlc_bars_check"),
        (with_column("source", "hearsay"), "ohlc_bars_source_check"),
        (with_column("volume", None), "null value in column"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
async def test_what_cannot_be_is_refused_with_its_file(
    tmp_path: Path, url: str, other_url: str, spoil: Callable[[Path], None], says: str
) -> None:
    async with await DBHandler.open(url) as database:
        await database.store_bars(walk(CONTRACTS[0], MINUTE, 2_000))
    await export_archive(url, tmp_path)
    part = tmp_path / "ohlc_bars" / f"contract_id={CONTRACTS[0]}" / "day=2025-03-04" / "part.parquet"
    spoil(part)
    await migrate(other_url)
    async with await DBHandler.open(other_url) as database:
        with pytest.raises((InvalidInput, StorageError), match=says) as caught:
            await import_archive(database, tmp_path)
    assert str(tmp_path) in str(caught.value)
    rows = [row for row in (await market_data(other_url))["ohlc_bars"] if '"timestamp": "2025-03-04' in row]
    assert rows == [], "nothing of the file is there"


@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
async def test_a_bar_that_the_database_has_otherwise_is_never_changed(tmp_path: Path, url: str, other_url: str) -> None:
    bars = walk(CONTRACTS[0], MINUTE, 100)
    async with await DBHandler.open(url) as database:
        await database.store_bars(bars)
    folder = tmp_path / "archive"
    done(db(tmp_path, url, "export", folder))
    await migrate(other_url)
    async with await DBHandler.open(other_url) as database:
        await database.store_bars([structs.replace(bars[50], volume=1), *bars[:10]])
        before = await market_data(other_url)
        answer = db(tmp_path, other_url, "import", folder)
        assert answer.returncode == 2
        assert "the 1m bar of 2025-03-03 00:50:00Z (revision 0) is another one in the database" in answer.stderr
        assert await market_data(other_url) == before


@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
async def test_a_gap_that_lasted_when_it_was_archived_ends_where_the_market_was_observed_again(
    tmp_path: Path, url: str, other_url: str
) -> None:
    folder, contract_id = tmp_path / "archive", CONTRACTS[0]
    begins = [START + hour * HOUR_NS for hour in (0, 40)]
    async with await DBHandler.open(url) as database:
        gaps = [Gap(contract_id, each, None, GapCause.DISCONNECT) for each in begins]
        await database.store_observed([], [], gaps, None)
    done(db(tmp_path, url, "export", folder))
    await migrate(other_url)
    async with await DBHandler.open(other_url) as database:
        for first, last in ((-5, 0), (3, 20), (21, 30)):
            await database.cover(contract_id, START + first * HOUR_NS, START + last * HOUR_NS, BarSource.LIVE)
        done(db(tmp_path, other_url, "import", folder))
        ends = [gap.ends_ns for gap in await database.open_gaps(contract_id)]
        assert ends == [START + 3 * HOUR_NS, None]


@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
def test_what_is_missing_is_named(tmp_path: Path, url: str) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no ohlc_bars" in db(tmp_path, url, "import", tmp_path / "empty").stderr
    assert "is no folder" in db(tmp_path, url, "import", tmp_path / "nowhere").stderr
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    answer = db(tmp_path, url, "export", tmp_path / "archive", PYTHONPATH=str(tmp_path))
    assert answer.returncode == 2
    assert "pip install 'escapement[parquet]'" in answer.stderr
