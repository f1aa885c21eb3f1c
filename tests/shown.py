"""What tests of the dashboard share: a database with something of everything, and the dashboard as a program."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path

import httpx

from coordination_program import MES, bars, settings
from escapement import wiring
from escapement.core.execution import HoldingNote, KeptAccount, OrderNote, Role
from escapement.model import BarSource, Coverage, Fill, Gap, GapCause, OrderSide, OrderType
from escapement.storage import DBHandler
from escapement.storage.embedded import embedded_server
from escapement.storage.execution import ExecutionStore
from programs import program, wait_for

SCRIPT = "<script>alert(1)</script>"
PASSWORD, VIEWER = "correct horse battery", "only looking here"
BARS = bars(hours=4)
FIRST, LAST = BARS[0].start_ns, BARS[-1].end_ns
MINUTE = 60 * 10**9


async def fill(database: DBHandler) -> None:
    """Bars, signals, decisions, orders, fills and gaps of four hours; one contract has a hostile name."""
    chosen = settings()
    await database.track([MES, SCRIPT], chosen.timeframes)
    coverage = [Coverage(MES, FIRST, LAST, BarSource.LIVE)]
    gap = Gap(MES, FIRST + 10 * MINUTE, FIRST + 12 * MINUTE, GapCause.DISCONNECT, SCRIPT)
    await database.store_observed(BARS, coverage, [gap], None)
    async with wiring.analysis(chosen, database) as analysis:
        await analysis.catch_up()
    await database.store_repair(MES, (), (), [gap])
    await wiring.coordination(chosen, database).catch_up()
    await _traded(ExecutionStore(database))


async def _traded(store: ExecutionStore) -> None:
    await store.open(KeptAccount("paper", 1, "paper", FIRST, Decimal(50_000), {}))
    note = OrderNote(
        "tag-1", 7, MES, None, Role.ENTRY, OrderType.MARKET, OrderSide.BUY, 1, None, None, "filled", 1, 5_000.25,
        created_ns=FIRST + 30 * MINUTE,
    )  # fmt: skip
    stop = OrderNote(
        "tag-2", 8, MES, None, Role.STOP, OrderType.STOP, OrderSide.SELL, 1, None, 4_990.25, "open", refusal=SCRIPT,
        created_ns=FIRST + 30 * MINUTE,
    )  # fmt: skip
    fill_ = Fill(1, 1, MES, 7, FIRST + 30 * MINUTE, OrderSide.BUY, 1, 5_000.25, Decimal("0.61"), None, voided=False)
    held = HoldingNote(MES, 1, 0, 5_000.25, 1, Decimal("-0.61"), Decimal("0.25"), Decimal("1.25"))
    await store.put("paper", [note, stop], [fill_], [held])
    await store.put_day("paper", date(2025, 3, 18), Decimal(50_000), Decimal("49_999.39"), Decimal(50_010))


async def fill_embedded(data_dir: Path) -> None:
    with embedded_server(data_dir) as url:
        from escapement.storage import migrate  # noqa: PLC0415

        await migrate(url)
        async with await DBHandler.open(url) as database:
            await fill(database)


@contextmanager
def dashboard(folder: Path, **variables: str) -> Iterator[httpx.Client]:
    """The dashboard of the database in ``folder/data``, as a program; a client whose base is its address."""
    own = {"ESCAPEMENT_CONTRACTS": MES, "ESCAPEMENT_INGEST__CLOCK": "stream", "ESCAPEMENT_LOGGING__LEVEL": "warning"}
    with program(folder, "dashboard", "--port", "0", **{**own, **variables}) as process:
        address = wait_for(process, "stdout", r"dashboard: (http\S+)")
        with httpx.Client(base_url=address, timeout=30) as client:
            yield client
        ended(process)


def ended(process: subprocess.Popen[str]) -> None:
    """End it as its users do; it has to end in good order."""
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert not re.search(r"Traceback|argon2id", out + err), err
