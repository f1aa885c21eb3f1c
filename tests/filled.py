"""A database with something in every table, and its content, for tests that move databases."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
from msgspec import structs

from escapement.calendars import calendar_for_contract
from escapement.model import NS_PER_SECOND, Bar, BarSource, Gap, GapCause, Timeframe
from escapement.moments import ns_from_iso
from escapement.storage import DBHandler

MINUTE, HOUR, DAY = (Timeframe.parse(text) for text in ("1m", "1h", "1d"))
CONTRACTS = "CON.F.US.MES.H25", "CON.F.US.MNQ.H25"
START = ns_from_iso("2025-03-03T00:00:00Z")
HOUR_NS = 3_600 * NS_PER_SECOND

_TRADES = """
INSERT INTO analyzer_watermarks (analyzer_id, analyzer_version, params, contract_id, timeframe, state)
VALUES ('trend_starts', 1, '{}', 'CON.F.US.MES.H25', '1m', '{"a": [1, null]}');
INSERT INTO analyzer_checkpoints SELECT instance_id, '2025-03-03T01:00Z', 60, 0, '{}' FROM analyzer_watermarks;
INSERT INTO detected_signals (timestamp, contract_id, timeframe, signal_type, signal_price, instance_id, analyzer_id,
    analyzer_version, params, trigger_timestamp, known_at, rule, trigger_whole)
SELECT moment, 'CON.F.US.MES.H25', '1m', 'uptrendStart', 5700.1, instance_id, 'trend_starts', 1, '{}', moment, moment,
       'it''s "quoted", \\n and é', true
FROM analyzer_watermarks, generate_series('2025-03-03T00:00Z', '2025-03-03T02:00Z', interval '1 minute') AS moment;
UPDATE detected_signals SET superseded_at = now(), superseded_by = signal_id + 1 WHERE signal_id = 3;
INSERT INTO decisions (decision_id, coordinator_id, contract_id, action, direction, confidence, price, known_at, rule,
    words, data_complete)
VALUES ('d1', 'main', 'CON.F.US.MES.H25', 'enter_long', 1, 0.1, 5700.1, '2025-03-03T00:01Z', 'pass_through', '', true);
INSERT INTO decision_signals VALUES ('d1', 2);
INSERT INTO decision_log VALUES ('main', 2, 'CON.F.US.MES.H25', '2025-03-03T00:01Z', '[{"rule": "x"}]', 'd1');
INSERT INTO coordinator_watermarks VALUES ('main', 2, 'CON.F.US.MES.H25', '2025-03-03T00:01Z', '{"b": 1}', 1);
INSERT INTO execution_accounts VALUES ('paper', 1, 'paper', now(), 50000, '{}', 1);
INSERT INTO execution_wishes VALUES ('paper', 'CON.F.US.MES.H25', 'd1', 1, 1, 'sent', now(), true);
INSERT INTO orders
VALUES ('paper', 'k1', 7, 'CON.F.US.MES.H25', 'd1', 'entry', 'market', 'buy', 1, NULL, NULL, 'filled');
INSERT INTO fills VALUES ('paper', 1, 'CON.F.US.MES.H25', 7, now(), 'buy', 1, 5700.25, 0.61, NULL, false);
INSERT INTO positions VALUES ('paper', 'CON.F.US.MES.H25', 1, 0, 5700.25, 1, -0.61, 0.25, 1.25);
INSERT INTO account_snapshots VALUES ('paper', '2025-03-03', 50000, 49999.39, 50000, 50001, 50001);
INSERT INTO risk_checks (account, decision_id, contract_id, at, size, approved, code, words, checks)
VALUES ('paper', 'd1', 'CON.F.US.MES.H25', now(), 1, true, '', '', '[]');
INSERT INTO reconciliations (account, cause, kind, subject, ours, venues, action)
VALUES ('paper', '', '', '', '', '', '');
INSERT INTO kill_switch (killed, reason, by) VALUES (true, 'test', 'me');
INSERT INTO service_health VALUES ('p', 'ingest', 'running', now(), 0, '');
INSERT INTO leases VALUES ('ingest CON.F.US.MES.H25', 'host:1', 3, now(), now());
INSERT INTO audit_log (who, address, act, outcome) VALUES ('operator', '127.0.0.1', 'kill', 'done');
INSERT INTO notifications VALUES ('e1', 'kill', now(), '{"by": "me"}');
INSERT INTO notification_deliveries VALUES ('e1', 'phone', 'sent', 1, NULL, now(), '');
"""


def walk(contract_id: str, timeframe: Timeframe, count: int) -> list[Bar]:
    """Bars of a random walk, one in fifty not whole."""
    chance = random.Random(f"{contract_id} {timeframe}")
    found, price = [], 22_000
    for n in range(count):
        quarters = [price := price + chance.randint(-6, 6) for _ in range(4)]
        prices = quarters[0] / 4, max(quarters) / 4, min(quarters) / 4, quarters[3] / 4
        length_ns = timeframe.length_ns or 24 * HOUR_NS
        start, volume = START + n * length_ns, chance.randint(1, 10**9)
        found.append(Bar(contract_id, timeframe, start, start + length_ns, *prices, volume, n % 50 != 7))
    return found


async def fill(url: str, minutes: int = 6_000) -> None:
    """Fill every table of a database that has our tables."""
    async with await DBHandler.open(url) as database:
        await database.track(CONTRACTS, [MINUTE, HOUR, DAY])
        for contract_id in CONTRACTS:
            for timeframe, count in ((MINUTE, minutes), (HOUR, minutes // 60), (DAY, minutes // 1_440)):
                await database.store_bars(walk(contract_id, timeframe, count))
            await database.set_periods(
                contract_id, calendar_for_contract(contract_id).sessions_between(START, START + 200 * HOUR_NS)
            )
            await database.cover(contract_id, START, START + 20 * HOUR_NS, BarSource.LIVE)
            await database.cover(contract_id, START + 21 * HOUR_NS, START + 50 * HOUR_NS, BarSource.HISTORY)
            gaps = [
                Gap(contract_id, START + 20 * HOUR_NS, START + 21 * HOUR_NS, GapCause.DISCONNECT, "a 'detail'"),
                Gap(contract_id, START + 50 * HOUR_NS, None, GapCause.FREEZE, ""),
            ]
            await database.store_observed((), (), gaps, {f"ingest {contract_id}": {"at": 1}})
            await database.store_repair(contract_id, _repaired(contract_id), (), gaps[:1])
        await database.pool.execute(_TRADES)


def _repaired(contract_id: str) -> list[Bar]:
    bars = walk(contract_id, MINUTE, 400)[300:]
    again = [structs.replace(bar, volume=bar.volume + 1, whole=True, source=BarSource.REBUILT) for bar in bars]
    before = structs.replace(bars[0], start_ns=START - 600 * NS_PER_SECOND, end_ns=START - 540 * NS_PER_SECOND)
    return [*again, before]


async def contents(url: str, *, without: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Every table's rows as text, sorted; ``without`` names a column of a table that does not count."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        found = {}
        for (table,) in tables:
            row = f"to_jsonb(each) - '{(without or {}).get(table, '')}'"
            rows = await connection.fetch(f"SELECT ({row})::text AS row FROM {table} AS each ORDER BY 1")
            found[table] = [each["row"] for each in rows]
        return found
    finally:
        await connection.close()


async def another_database(url: str) -> str:
    """Make an empty database on the same server; return its URL."""
    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def drop(url: str) -> None:
    """Drop a database."""
    parts = urlsplit(url)
    connection = await asyncpg.connect(parts._replace(path="/postgres").geturl())
    await connection.execute(f"DROP DATABASE IF EXISTS {parts.path[1:]} WITH (FORCE)")
    await connection.close()


def environment(folder: Path, url: str) -> dict[str, str]:
    """What a command needs to work on a database and nothing else of this machine."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    return {**plain, "ESCAPEMENT_DATA_DIR": str(folder / "data"), "DATABASE_URL": url}


def db(folder: Path, url: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``escapement db`` on a database."""
    return subprocess.run(
        [sys.executable, "-m", "escapement", "db", *map(str, arguments)], check=False, capture_output=True, text=True,
        cwd=folder, env={**environment(folder, url), **variables}, timeout=100,
    )  # fmt: skip


def done(answer: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed that has to succeed."""
    assert answer.returncode == 0, answer.stderr
    return answer.stdout
