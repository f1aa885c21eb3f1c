"""What analyses and decides runs where no gateway may be called from: it works without any credential of one."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest

from analysed import MINUTE, stored, walk
from escapement.storage import DBHandler
from programs import program, wait_for

MES = "CON.F.US.MES.M25"
BARS = walk((MES, MINUTE), 400)
SETTINGS = {
    "ESCAPEMENT_CONTRACTS": MES, "ESCAPEMENT_TIMEFRAMES": "1m", "ESCAPEMENT_LOGGING__STREAM": "stdout",
    "ESCAPEMENT_LOGGING__EVENT_KEY": "message",
}  # fmt: skip
# These would be credentials; a shell of the developer's may have them.
NONE = dict.fromkeys(
    ("PROJECTX_USERNAME", "PROJECTX_API_KEY", "PROJECTX_API_TOKEN", "USERNAME_FOR_TOKEN_GENERATION"), ""
)
EMBEDDED = pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)


async def fill(url: str) -> None:
    async with await DBHandler.open(url) as database:
        await database.store_bars(BARS)


async def results(url: str) -> tuple[int, int]:
    """How many signals and decisions are stored, once the coordinator has weighed all signals."""
    async with await DBHandler.open(url) as database, asyncio.timeout(60):
        while True:
            _, rows = await database.read("SELECT count(*) FROM decisions")
            if rows[0][0]:
                return len(await stored(database)), int(str(rows[0][0]))
            await asyncio.sleep(0.1)


@EMBEDDED
def test_analysis_and_decisions_need_no_credential_of_the_gateway(tmp_path: Path, url: str) -> None:
    asyncio.run(fill(url))
    variables = {"DATABASE_URL": url, **SETTINGS, **NONE, "ESCAPEMENT_COORDINATOR__PATIENCE_SECONDS": "1"}
    with program(tmp_path, "run", "--services", "analyze,coordinate", **variables) as server:
        wait_for(server, "stdout", '"message": "coordinate_started"')
        signals, decisions = asyncio.run(results(url))
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=60)
    assert (server.returncode, err) == (0, ""), out
    assert signals > 0
    assert decisions > 0
    assert "gateway" not in out


@EMBEDDED
@pytest.mark.parametrize("service", ["ingest", "execute"])
def test_what_calls_the_gateway_is_refused_without_its_credentials(tmp_path: Path, url: str, service: str) -> None:
    variables = {"DATABASE_URL": url, **SETTINGS, **NONE}
    with program(tmp_path, "run", "--services", service, **variables) as edge:
        out, err = edge.communicate(timeout=60)
    assert (edge.returncode, out) == (2, "")
    assert len(re.findall("gateway.(?:user_name|api_key) is missing", err)) == 2
