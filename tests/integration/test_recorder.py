"""The recorder beside ingestion: true, bounded, discreet, and never in the way."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Bar, Timeframe, Trade
from escapement.moments import ns_from_iso
from escapement.recordings import MissingFrames, RecordedFrame, TornEnd, read_recording, recording_files
from escapement.settings import Settings, load_settings
from escapement.simulator import RecordedTape, Simulator, SimulatorConfig, synthetic_trades
from escapement.storage.recorder import Recorder, RecorderParams
from simulated import MES, MNQ, tape, until

DAY_NS = 86_400 * NS_PER_SECOND
NOON = ns_from_iso("2025-03-17T12:00:00Z")
FOREVER = 1 << 62
TIMEFRAMES = ["1m", "5m", "1h"]


def contents(directory: Path) -> list[RecordedFrame | MissingFrames | TornEnd]:
    return [item for file in recording_files(directory) for _, item in read_recording(file.path)]


def frames_of(directory: Path) -> list[RecordedFrame]:
    return [item for item in contents(directory) if isinstance(item, RecordedFrame)]


def settings_for(simulator: Simulator, data_dir: Path, url: str | None, *, directory: Path) -> Settings:
    return load_settings(
        environ={},
        data_dir=data_dir,
        contracts=[MES, MNQ],
        timeframes=TIMEFRAMES,
        gateway={
            "api_url": simulator.base_url, "market_hub_url": simulator.market_hub_url,
            "user_hub_url": simulator.user_hub_url, "user_name": "demo", "api_key": "demo-key-0001",
        },
        ingest={"clock": "stream"},
        recorder={"enabled": True, "directory": str(directory)},
        database={"url": url},
    )  # fmt: skip


async def bars_ingested(
    trades: list[Trade] | Iterator[Trade], url: str | None, data_dir: Path, directory: Path
) -> list[Bar]:
    """Replay, ingest with the recorder on, and return the stored bars."""
    async with Simulator(SimulatorConfig([MES, MNQ]), trades) as simulator:
        settings = settings_for(simulator, data_dir, url, directory=directory)
        async with (
            wiring.database(settings) as database,
            wiring.ingestion(settings, database, state_name=None) as ingestion,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(ingestion.run())
            await until(simulator.finished.is_set)
            await until(lambda: ingestion.statistics().venue_time_ns >= simulator.end_ns)
            await until(lambda: ingestion.statistics().bars_waiting == 0)
            ingestion.stop()
        async with wiring.database(settings) as database:
            found = [
                bar
                for contract_id in (MES, MNQ)
                for text in TIMEFRAMES
                for bar in await database.bars_between(contract_id, Timeframe.parse(text), 0, FOREVER)
            ]
    return found


def hour() -> list[Trade]:
    session = next(s for s in calendar_for_contract(MES).sessions if s.trade_date.isoformat() == "2025-03-17")
    begin = session.close_ns - 3_600 * NS_PER_SECOND
    whole = synthetic_trades([MES, MNQ], session.trade_date, seed=5, per_minute=60)
    return [trade for trade in whole if trade.at_ns >= begin]


@contextmanager
def files_no_longer_than(length: int) -> Iterator[None]:
    """Let writing fail where a full disk would let it fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_frames_come_back_in_order_with_their_time_and_hub_and_each_day_has_its_file(tmp_path: Path) -> None:
    with Recorder(RecorderParams(tmp_path), now_ns=lambda: NOON) as recorder:
        for n in range(100):
            recorder.take("market", 1 + n // 60, b'{"type":6}\x1e%d' % n, NOON + n * DAY_NS // 50)
    assert contents(tmp_path) == [
        RecordedFrame(NOON + n * DAY_NS // 50, "market", 1 + n // 60, b'{"type":6}\x1e%d' % n) for n in range(100)
    ]
    days = [file.day.isoformat() for file in recording_files(tmp_path)]
    assert days == ["2025-03-17", "2025-03-18", "2025-03-19"]
    with Recorder(RecorderParams(tmp_path), now_ns=lambda: NOON) as recorder:
        recorder.take("market", 1, b"again", NOON)
    assert [file.number for file in recording_files(tmp_path) if file.day.day == 17] == [1, 2]


async def test_old_files_and_the_oldest_of_too_many_are_removed_while_running(tmp_path: Path) -> None:
    foreign = tmp_path / "mine.jsonl.zst"
    foreign.write_text("not a recording")
    now = [NOON]
    params = RecorderParams(tmp_path, keep_days=3, max_bytes=1 << 20)
    noise = [bytes([(n * n * 7 + k * k * 13 + k * n) % 251 for k in range(50_000)]) for n in range(8)]
    with Recorder(params, now_ns=lambda: now[0]) as recorder:
        for day in range(6):
            now[0] = NOON + day * DAY_NS
            written = recorder.statistics().frames
            for n in range(8):
                recorder.take("market", 1, noise[n] + b"%d" % day, now[0])
            await until(lambda: recorder.statistics().frames == written + 8)  # noqa: B023 - awaited here
            assert sum(file.path.stat().st_size for file in recording_files(tmp_path)) <= params.max_bytes
        assert recorder.statistics().removed > 0
        assert recorder.statistics().dropped == 0
    days = {file.day.day for file in recording_files(tmp_path)}
    assert days <= {19, 20, 21, 22}
    assert 22 in days
    assert foreign.exists()


async def test_what_a_disk_does_not_take_is_counted_and_told_in_the_recording(tmp_path: Path) -> None:
    params = RecorderParams(tmp_path, waiting_bytes=10_000, retry_s=0.1)
    recorder = Recorder(params, now_ns=lambda: NOON)
    for n in range(100):  # nobody writes: a disk that hangs
        recorder.take("market", 1, b"%04d" % n, NOON + n)
    dropped = recorder.statistics().dropped
    assert 0 < dropped < 100
    recorder.start()
    recorder.take("market", 1, b"late", NOON + 200)
    await until(lambda: recorder.statistics().frames >= 100 - dropped)
    recorder.take("market", 1, b"last", NOON + 300)
    recorder.close()
    recorder.take("market", 1, b"after the end", NOON + 400)
    found = contents(tmp_path)
    assert [item.data for item in found if isinstance(item, RecordedFrame)][-1] == b"last"
    told = sum(item.frames for item in found if isinstance(item, MissingFrames))
    assert told == dropped + (0 if any(f.data == b"late" for f in frames_of(tmp_path)) else 1)


async def test_a_full_disk_costs_frames_and_nothing_else(tmp_path: Path) -> None:
    noise = bytes((n * n * 7 + n // 256 * 31) % 251 for n in range(100_000))
    with Recorder(RecorderParams(tmp_path, retry_s=0.05), now_ns=lambda: NOON) as recorder:
        with files_no_longer_than(50_000):
            recorder.take("market", 1, noise, NOON)
            await until(lambda: recorder.statistics().dropped == 1)
        await asyncio.sleep(0.06)
        recorder.take("market", 1, b"the disk has room again", NOON + 1)
        await until(lambda: recorder.statistics().frames == 1)
    first, second = recording_files(tmp_path)
    assert [item for _, item in read_recording(first.path)] == [TornEnd(1)]
    assert [item for _, item in read_recording(second.path)] == [
        MissingFrames(NOON + 1, 1),
        RecordedFrame(NOON + 1, "market", 1, b"the disk has room again"),
    ]


async def test_a_place_that_cannot_be_written_stops_nothing(url: str, tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("no folder")
    trades = tape(*range(5_000, 5_100))
    bars = await bars_ingested(trades, url, tmp_path, occupied)
    assert sum(bar.volume for bar in bars if bar.timeframe == Timeframe.parse("1m")) == sum(t.volume for t in trades)
    assert occupied.read_text() == "no folder"


async def test_no_secret_is_ever_in_a_file(tmp_path: Path) -> None:
    secret = "a-token-without-a-form"
    with Recorder(RecorderParams(tmp_path)) as recorder:
        recorder.conceal(SecretStr(secret))
        recorder.take("market", 1, b'{"error":"bad token a-token-without-a-form"}\x1e', NOON)
        recorder.take("market", 1, b'{"x":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"}\x1e', NOON)
    assert [frame.data for frame in frames_of(tmp_path)] == [b'{"error":"bad token ***"}\x1e', b'{"x":"***"}\x1e']


async def test_a_recording_of_a_replay_replays_to_the_same_bars(url: str, tmp_path: Path) -> None:
    trades = hour()
    first, second = tmp_path / "first", tmp_path / "second"
    bars = await bars_ingested(trades, url, tmp_path, first)
    recorded = RecordedTape([first])
    survey = recorded.survey()
    assert survey.notes == []
    assert sum(survey.trades.values()) == len(trades)
    again = list(recorded.trades())
    assert [(t.contract_id, t.price, t.volume, t.aggressor) for t in again if t.contract_id == MES] == [
        (t.contract_id, t.price, t.volume, t.aggressor) for t in trades if t.contract_id == MES
    ]
    # Into an embedded database, which knows nothing of the first.
    assert await bars_ingested(recorded.trades(), None, tmp_path, second) == bars
    assert len(bars) > 120
    text = b"".join(frame.data for frame in frames_of(first))
    assert b"access_token" not in text
    assert b"demo-key" not in text
    assert list(RecordedTape([second], [MNQ]).survey().trades) == [MNQ]


WRITER = """
import sys, time
from pathlib import Path
from escapement.logs import configure_logging
from escapement.storage.recorder import Recorder, RecorderParams
configure_logging("warning", "json")
recorder = Recorder(RecorderParams(Path(sys.argv[1])))
recorder.start()
while True:
    now_ns = time.time_ns()
    recorder.take("market", 1, b"x" * 200, now_ns)
    print(now_ns, flush=True)
    time.sleep(0.005)
"""


def test_a_killed_program_loses_at_most_a_second(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        begun_ns = int(writer.stdout.readline())
        taken = [begun_ns]
        while time.time_ns() < begun_ns + 2 * NS_PER_SECOND:
            taken.append(int(writer.stdout.readline()))
        writer.send_signal(signal.SIGKILL)
        taken += map(int, writer.stdout.read().split())
    found = contents(tmp_path)
    assert isinstance(found[-1], TornEnd)
    kept = [frame.received_ns for frame in frames_of(tmp_path)]
    assert kept == taken[: len(kept)]
    assert taken[-1] - kept[-1] < NS_PER_SECOND


async def test_what_cannot_be_replayed_is_told_with_its_place(tmp_path: Path) -> None:
    with Recorder(RecorderParams(tmp_path), now_ns=lambda: NOON) as recorder:
        trade = b'{"price":1.5,"timestamp":"2025-03-17T12:00:00.1+00:00","type":1,"volume":2}'
        record = b'{"type":1,"target":"GatewayTrade","arguments":["C",%b]}\x1e'
        recorder.take("market", 1, record % trade + record % b"[null]" + record % b"[{}]", NOON)
        recorder.take("user", 1, record % trade, NOON)
        recorder.take(
            "market", 1, b'{"type":1,"target":"GatewayTrade","arguments":["C",[{"pri\x1e' + record % trade, NOON
        )
    recorded = RecordedTape([tmp_path])
    survey = recorded.survey()
    assert [(t.contract_id, t.price, t.volume, t.aggressor) for t in recorded.trades()] == [("C", 1.5, 2, "sell")] * 2
    file = recording_files(tmp_path)[0].path
    assert survey.notes == [
        f"{file} line {line}: a record of trades cannot be read, as it could not when it came; left out"
        for line in (1, 3)
    ]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InvalidInput, match="holds no recordings"):
        RecordedTape([empty])
