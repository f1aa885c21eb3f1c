"""Health and metrics as those who watch the program see them: real processes, real faults, over a real socket."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from desks import LIVE, desk
from escapement import wiring_operations
from escapement.settings import load_settings
from escapement.storage import DBHandler, migrate
from escapement.storage.embedded import embedded_server, revive
from escapement.web.operations import router
from escapement.web.server import serve
from programs import program, venue_variables, wait_for

MES = "CON.F.US.MES.M25"
SERVICES = ["ingest", "analyze"]
# A freeze lasts fifteen seconds of ours before ingestion itself finds it.
SLOW_WATCH = {
    "ESCAPEMENT_TIMEFRAMES": "1h", "ESCAPEMENT_CONTRACTS": MES, "ESCAPEMENT_INGEST__REPLAY_SPEED": "60",
    "ESCAPEMENT_COMPARE__SILENCE_SECONDS": "900", "ESCAPEMENT_COMPARE__LONGEST_SILENCE_SECONDS": "2700",
}  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def answer(session: aiohttp.ClientSession, address: str) -> tuple[int, dict[str, dict[str, Any]]]:
    async with session.get(f"{address}/readyz") as response:
        body = await response.json()
    assert body["ready"] == (response.status == 200) == all(each["ok"] for each in body["checks"])
    assert all(bool(each["remedy"]) != each["ok"] for each in body["checks"])
    return response.status, {each["name"]: each for each in body["checks"]}


async def until(
    session: aiohttp.ClientSession, address: str, condition: Callable[[int, dict[str, dict[str, Any]]], bool]
) -> dict[str, dict[str, Any]]:
    found: tuple[int, dict[str, dict[str, Any]]] = 0, {}
    try:
        async with asyncio.timeout(60):
            while not condition(*(found := await answer(session, address))):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(found) from None
    return found[1]


def green(status: int, _checks: dict[str, dict[str, Any]]) -> bool:
    return status == 200


def red(name: str) -> Callable[[int, dict[str, dict[str, Any]]], bool]:
    return lambda status, checks: status == 503 and not checks.get(name, {"ok": True})["ok"]


@asynccontextmanager
async def watched(data_dir: Path, url: str, **operations: float) -> AsyncIterator[str]:
    """An application of its own that watches processes elsewhere; gives its address."""
    settings = load_settings(environ={}, data_dir=data_dir, database={"url": url}, operations=operations)
    stopping, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with wiring_operations.lookout(settings, SERVICES) as lookout:
        app = FastAPI()
        app.include_router(router(lookout))
        serving = asyncio.create_task(serve(app, "127.0.0.1", 0, stopping, address.set_result))
        try:
            yield await address
        finally:
            stopping.set()
            await serving


@pytest.mark.timeout(240)
async def test_each_planted_fault_turns_it_red_and_it_is_green_again_when_the_fault_is_gone(tmp_path: Path) -> None:
    with (
        embedded_server(tmp_path / "server") as url,
        program(tmp_path, "simulate", "--contract", MES, "--speed", "60", "--port", "0") as venue,
    ):
        await migrate(url)
        base = wait_for(venue, "stdout", r"api url +(\S+)")
        variables = {**venue_variables(base), **SLOW_WATCH, "DATABASE_URL": url}
        arguments = "run", "--services", ",".join(SERVICES)
        (tmp_path / "data").mkdir()
        async with (
            watched(tmp_path / "data", url, stale_seconds=6) as address,
            aiohttp.ClientSession() as session,
        ):
            async with session.get(f"{address}/healthz") as response:
                assert (response.status, await response.json()) == (200, {"status": "alive"})
            checks = await until(session, address, red("service ingest"))
            assert checks["service ingest"]["value"] == "never heard of"
            with program(tmp_path, *arguments, **variables):
                assert set(await until(session, address, green)) == {
                    "database", "service ingest", "service analyze", "feed", "data", "disk",
                }  # fmt: skip

                # The feed is frozen behind a live socket.
                fault = {"kind": "freeze", "pings": True}
                async with session.post(f"{base}/simulator/fault", json=fault) as response:
                    assert response.status == 200, await response.text()
                checks = await until(session, address, red("data"))
                assert MES in checks["data"]["value"]
                await until(session, address, green)

                # The database hangs.
                server = tmp_path / "server" / "postgres" / "postmaster.pid"
                postmaster = psutil.Process(int(server.read_text().split()[0]))
                frozen = [postmaster, *postmaster.children(recursive=True)]
                for each in frozen:
                    each.suspend()
                checks = await until(session, address, red("database"))
                assert checks["database"]["value"] == "the database does not answer within 3 s"
                for each in frozen:
                    if each.is_running():
                        each.resume()
                await until(session, address, green)

                # It is down.
                postmaster.kill()
                checks = await until(session, address, red("database"))
                assert url not in str(checks)
                async with session.get(f"{address}/metrics") as response:
                    assert 'escapement_check_ok{check="database"} 0.0' in await response.text()
                await asyncio.to_thread(revive, tmp_path / "server")
                await until(session, address, green)

            # Its process was killed, so that the services are dead.
            checks = await until(session, address, red("service analyze"))
            assert checks["service analyze"]["value"].startswith("silent for")
            with program(tmp_path, *arguments, **variables):
                await until(session, address, green)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk of two megabytes")
@pytest.mark.parametrize(
    ("least", "filled", "told"), [(1_500_000, 1_000_000, "GB free in"), (0, 3_000_000, "No space left on device")]
)
async def test_a_disk_that_is_full_turns_it_red(
    tmp_path: Path, embedded_url: str, least: int, filled: int, told: str
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        async with watched(disk, embedded_url, least_free_bytes=least) as address, aiohttp.ClientSession() as session:
            await until(session, address, lambda _, checks: checks["disk"]["ok"])
            filler = disk / "filler"
            with suppress(OSError):
                filler.write_bytes(bytes(filled))
            checks = await until(session, address, red("disk"))
            assert told in checks["disk"]["value"]
            filler.unlink()
            await until(session, address, lambda _, checks: checks["disk"]["ok"])


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
    except urllib.error.URLError:
        return 0, ""


def test_run_serves_health_and_metrics_where_a_port_is_set(tmp_path: Path) -> None:
    port = free_port()
    with program(tmp_path, "simulate", "--contract", MES, "--speed", "60", "--port", "0") as venue:
        base = wait_for(venue, "stdout", r"api url +(\S+)")
        variables = {**venue_variables(base), "ESCAPEMENT_CONTRACTS": MES, "ESCAPEMENT_OPERATIONS__PORT": str(port)}
        with program(tmp_path, "run", "--services", "ingest,operations", **variables) as running:
            wait_for(running, "stderr", "operations_started")
            assert get(port, "/healthz") == (200, '{"status":"alive"}')
            while get(port, "/readyz")[0] != 200:  # pytest's timeout bounds the wait
                pass
            assert get(port, "/docs")[0] == 404
            text = ""
            while not re.search(r"escapement_trades_total\{.*\} [1-9]", text):
                status, text = get(port, "/metrics")
                assert status == 200
            families = {family.name: family for family in text_string_to_metric_families(text)}
            assert families["escapement_trades"].samples[0].value > 0
            assert families["escapement_ready"].samples[0].value == 1
            assert families["process_resident_memory_bytes"].samples
            assert "demo-key-0001" not in text

            # Who finds the port taken waits for it, and does everything else meanwhile.
            with program(tmp_path, "run", "--services", "ingest,operations", **variables) as second:
                reason = wait_for(second, "stderr", r'.*"service_restarts".*')
                assert f"operations.port {port}: Address already in use" in reason
                wait_for(second, "stderr", "leases_wait")  # the first one has the contract
                second.send_signal(signal.SIGTERM)
                assert second.wait(30) == 0
            running.send_signal(signal.SIGTERM)
            _, err = running.communicate(timeout=30)
        assert running.returncode == 0, err
        assert "/metrics" not in err


async def test_execution_is_well_while_another_stands_by_and_not_while_it_hears_nothing_of_its_account(
    tmp_path: Path, url: str
) -> None:
    port = free_port()
    with (
        desk(tmp_path, url, **LIVE, ESCAPEMENT_OPERATIONS__PORT=str(port)) as there,
        program(tmp_path, "run", "--services", "execute,operations", **there.variables) as first,
    ):
        await asyncio.to_thread(wait_for, first, "stderr", "execute_started")
        with program(tmp_path, "run", "--services", "execute", **there.variables) as second:
            await asyncio.to_thread(wait_for, second, "stderr", "lease_waits")
            async with aiohttp.ClientSession() as session, await DBHandler.open(url) as database:
                both = "SELECT count(*) = 2 FROM service_health WHERE service = 'execute' AND state = 'running'"
                async with asyncio.timeout(30):
                    while not await database.pool.fetchval(both):  # noqa: ASYNC110 - another process
                        await asyncio.sleep(0.1)
                address, venue = f"http://127.0.0.1:{port}", there.variables["ESCAPEMENT_GATEWAY__API_URL"]
                assert set(await until(session, address, green)) >= {"service execute", "account"}
                refused = {"kind": "unauthorized_hub", "hub": "user", "count": 4}
                for fault in (refused, {"kind": "disconnect", "hub": "user"}):
                    async with session.post(f"{venue}/simulator/fault", json=fault) as response:
                        assert response.status == 200, await response.text()
                await until(session, address, red("account"))
                await until(session, address, green)


def test_services_that_have_nothing_to_do_are_left_out_or_told(tmp_path: Path) -> None:
    with program(tmp_path, "run", "--services", "notify,operations") as running:
        _, err = running.communicate(timeout=30)
    assert running.returncode == 2
    assert "notify needs notify.channels, operations needs operations.port" in err
    assert not (tmp_path / "data").exists()
