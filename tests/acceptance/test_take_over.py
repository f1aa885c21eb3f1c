"""Two programs at the same work: one is killed or frozen, the other takes over, and who wakes does nothing more."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from audit import Audit
from desks import LIVE, desk
from programs import program, venue_variables, wait_for

MES, MNQ = "CON.F.US.MES.M25", "CON.F.US.MNQ.M25"
QUICK = {"ESCAPEMENT_LEASES__SECONDS": "1", "ESCAPEMENT_LOGGING__LEVEL": "warning"}
ENDS = pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])


@pytest.fixture
async def audit(url: str) -> AsyncIterator[Audit]:
    found = Audit(url)
    await found.begin()
    yield found
    await found.end()


async def holders(url: str, service: str) -> dict[str, int]:
    """Return the process that holds each lease of a service."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT resource, holder FROM leases WHERE starts_with(resource, $1) AND until > clock_timestamp()", service
    )
    await connection.close()
    return {row["resource"]: int(row["holder"].rpartition("/")[0].rpartition(":")[2]) for row in rows}


async def until_held(
    url: str, wanted: list[tuple[str, int]] | int, service: str, by: int, within_s: float = 40
) -> None:
    """Wait until a process holds so many leases of a service."""
    async with asyncio.timeout(within_s):
        while list((await holders(url, service)).values()).count(by) != wanted:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)


async def number(url: str, query: str) -> int:
    connection = await asyncpg.connect(url)
    found = await connection.fetchval(query)
    await connection.close()
    return int(found)


async def until_none(url: str, query: str) -> None:
    async with asyncio.timeout(60):
        while await number(url, query):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.1)


@ENDS
async def test_ingestion_is_taken_over_and_nobody_else_than_the_holder_writes(
    tmp_path: Path, url: str, audit: Audit, end: signal.Signals
) -> None:
    (first, first_url), (second, second_url) = await audit.user(), await audit.user()
    with program(
        tmp_path, "simulate", "--contract", MES, "--contract", MNQ, "--speed", "60", "--per-minute", "30",
        "--no-wait", "--port", "0",
    ) as venue:  # fmt: skip
        base = wait_for(venue, "stdout", r"api url +(\S+)")
        own = {**venue_variables(base), **QUICK, "ESCAPEMENT_CONTRACTS": f"{MES},{MNQ}",
               "ESCAPEMENT_INGEST__REPLAY_SPEED": "60", "ESCAPEMENT_INGEST__STATE_INTERVAL_SECONDS": "0.5"}  # fmt: skip
        with program(tmp_path, "ingest", **own, DATABASE_URL=first_url) as one:
            await until_held(url, 2, "ingest ", one.pid)
            with program(tmp_path, "ingest", **own, DATABASE_URL=second_url) as two:
                await until_held(url, 1, "ingest ", two.pid)
                await until_held(url, 1, "ingest ", one.pid)
                await until_none(url, "SELECT 2 - count(DISTINCT contract_id) FROM ohlc_bars")
                one.send_signal(end)
                await until_held(url, 2, "ingest ", two.pid)
                if end is signal.SIGSTOP:
                    one.send_signal(signal.SIGCONT)
                    await asyncio.to_thread(wait_for, one, "stderr", "leases_lost")
                    await until_held(url, 1, "ingest ", one.pid)  # it takes part again
                await until_none(url, "SELECT count(*) FROM data_gaps WHERE state = 'open'")
                for each in (one, two) if end is signal.SIGSTOP else (two,):
                    each.send_signal(signal.SIGTERM)
                    assert await asyncio.to_thread(each.wait, 40) == 0
    assert await holders(url, "ingest ") == {}
    assert await audit.wrong({first: [one.pid], second: [two.pid]}) == []
    assert await audit.writers("ingest") == {first, second}
    assert await number(url, "SELECT count(*) FROM data_gaps WHERE cause = 'crash'") > 0


@ENDS
async def test_execution_is_taken_over_and_who_wakes_orders_nothing(
    tmp_path: Path, url: str, audit: Audit, end: signal.Signals
) -> None:
    (first, first_url), (second, second_url) = await audit.user(), await audit.user()
    with desk(tmp_path, url, **LIVE) as there:
        own = there.variables | QUICK
        with program(tmp_path, "execute", **{**own, "DATABASE_URL": first_url}) as one:
            await until_held(url, 1, "execute ", one.pid)
            await until_none(url, "SELECT 1 - count(*) FROM execution_accounts")
            with program(tmp_path, "execute", **{**own, "DATABASE_URL": second_url}) as two:
                await until_held(url, 1, "member execute ", two.pid)
                shown = await asyncio.to_thread(there.json, "leases")
                assert {each["state"] for each in shown} == {"held", "stands by"}
                await asyncio.to_thread(there.decide, 1, 1)
                await asyncio.to_thread(there.until, lambda: there.net() == 1)
                await asyncio.to_thread(there.decide, 2, -1)  # which may be half done
                one.send_signal(end)
                await until_held(url, 1, "execute ", two.pid)
                await asyncio.to_thread(there.until, lambda: there.net() in {0, -1})
                await asyncio.to_thread(there.decide, 3, 1)
                await asyncio.to_thread(there.until, lambda: there.net() == 1)
                if end is signal.SIGSTOP:
                    one.send_signal(signal.SIGCONT)
                    await asyncio.to_thread(wait_for, one, "stderr", "lease_lost")
                await asyncio.to_thread(there.decide, 4, 0)
                await asyncio.to_thread(there.until, lambda: there.net() == 0 and not there.json("orders", "--open"))
                for each in (one, two) if end is signal.SIGSTOP else (two,):
                    each.send_signal(signal.SIGTERM)
                    assert await asyncio.to_thread(each.wait, 40) == 0
        placed = json.loads(await asyncio.to_thread(
            there.run, "gateway", "orders", "--account", "1001", "--json"
        ))  # fmt: skip
    tags = [each["custom_tag"] for each in placed if each["custom_tag"]]
    assert len(tags) == len(set(tags))
    assert await audit.wrong({first: [one.pid], second: [two.pid]}) == []
    assert await audit.writers("execute") == {first, second}
