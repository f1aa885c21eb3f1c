"""A day traded on paper and the backtest of the same trades: the same bars, signals, decisions, orders and fills."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from escapement import wiring_backtest
from escapement.backtest.run import Outcome
from escapement.csvfiles import write_trades
from escapement.model import Bar, Fill, Timeframe
from escapement.settings import load_settings
from escapement.simulator import synthetic_trades
from escapement.storage import DBHandler
from escapement.storage.analysis import AnalysisStore
from escapement.storage.coordination import CoordinationStore
from escapement.storage.execution import ExecutionStore
from programs import program, wait_for

MES, MNQ = "CON.F.US.MES.M25", "CON.F.US.MNQ.M25"
CONTRACTS = [MES, MNQ]
SPEED = 1_500.0
SETTINGS: dict[str, Any] = {
    "contracts": CONTRACTS,
    "timeframes": ["1m", "5m", "15m"],
    "ingest": {"clock": "stream", "replay_speed": SPEED},
    "analyzers": {"run": ["trend_starts", {"name": "donchian_breakout", "timeframes": ["5m"]}]},
    "coordinator": {
        "entries": [{"rule": "strategic_tactical", "strategic": ["15m"], "tactical": ["1m", "5m"]}],
        "gates": [{"rule": "cooldown", "length": "15m"}],
        "exits": [{"rule": "opposite_signal", "timeframes": ["5m"]}],
        "patience_seconds": 36_000.0,
    },
    "execution": {"stop_ticks": {"MES": 16, "MNQ": 40}, "target_ticks": {"MES": 24}, "paper_delay_seconds": 10.0},
    "risk": {"flatten_minutes": 10, "no_entries_minutes": 30, "daily_loss": 1_500, "oldest_price_seconds": 60},
    "logging": {"level": "info"},
}
TIMEFRAMES = [Timeframe.parse(each) for each in SETTINGS["timeframes"]]
Rows = list[tuple[Any, ...]]
KINDS = "bars", "signals", "decisions", "orders", "fills"


class Venue:
    """The simulator in a process of its own, steered from here."""

    def __init__(self, base: str) -> None:
        self.base = base

    def do(self, action: str) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - a server on this machine
            f"{self.base}/simulator/{action}", b"{}", {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
        return found

    def wait(self, key: str, least: object) -> None:
        deadline = time.monotonic() + 200
        while self.do("status")[key] < least:
            assert time.monotonic() < deadline, f"{key} stays below {least}"
            time.sleep(0.2)


@contextmanager
def trading(folder: Path, url: str, base: str, run: int) -> Iterator[subprocess.Popen[bytes]]:
    """All services in one process, as ``escapement run`` starts them; they hear the market when this is entered."""
    gateway = {"api_url": base, "market_hub_url": f"{base}/hubs/market", "user_hub_url": f"{base}/hubs/user"}
    (folder / "settings.yaml").write_text(yaml.safe_dump({**SETTINGS, "gateway": gateway}))
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    own = {
        "DATABASE_URL": url, "ESCAPEMENT_SETTINGS": str(folder / "settings.yaml"), "PROJECTX_USERNAME": "demo",
        "PROJECTX_API_KEY": "demo-key-0001", "ESCAPEMENT_RUN__SERVICES": "ingest,analyze,coordinate,execute",
    }  # fmt: skip
    log = folder / f"run{run}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "escapement", "run"], stdout=output, stderr=output, cwd=folder, env=plain | own
        )
        try:
            until(lambda: log.read_text().count("hub_live") >= 2, 60)  # ingestion and execution
            yield process
        finally:
            process.kill()
            process.wait()


def until(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def live(folder: Path, url: str, file: Path, last_ns: int, wanted: dict[str, Rows], restart_at: str | None) -> None:
    """Trade the file; what was done is in the database then, as far as it comes to be what is wanted."""
    with program(folder, "simulate", "--trades", str(file), "--speed", f"{SPEED:g}", "--port", "0") as process:
        venue = Venue(wait_for(process, "stdout", r"api url +(\S+)"))
        venue.do("pause")
        if restart_at is not None:
            with trading(folder, url, venue.base, 1) as first:
                venue.do("resume")
                venue.wait("now", restart_at)
                venue.do("pause")
                first.send_signal(signal.SIGTERM)
                assert first.wait(60) == 0
        with trading(folder, url, venue.base, 2) as second:
            venue.do("resume")
            venue.wait("finished", True)  # noqa: FBT003 - a value like others
            deadline = time.monotonic() + 40
            while asyncio.run(recorded(url, last_ns)) != wanted and time.monotonic() < deadline:
                time.sleep(0.5)
            second.send_signal(signal.SIGTERM)
            assert second.wait(60) == 0


async def recorded(url: str, last_ns: int) -> dict[str, Rows]:
    """Return every row of what was done live up to a trade, which cuts off the last bars of its file."""
    async with await DBHandler.open(url) as database:
        bars = [
            _bar(bar) for contract_id in CONTRACTS for timeframe in TIMEFRAMES
            for bar in await database.bars_between(contract_id, timeframe, 0, last_ns) if bar.end_ns <= last_ns
        ]  # fmt: skip
        signals = await AnalysisStore(database).signals(to_ns=last_ns)
        decisions = await CoordinationStore(database).decisions()
        store = ExecutionStore(database)
        orders, fills = await store.orders("paper"), await store.fills("paper")
    return {
        "bars": sorted(bars),
        "signals": sorted(
            (each.key.contract_id, str(each.key.timeframe), each.key.analyzer, each.signal_type, each.bar_start_ns,
             each.trigger_start_ns, each.known_at_ns, each.price, each.rule) for each in signals
        ),
        "decisions": sorted(
            (each.decision_id, each.contract_id, str(each.action), each.direction, each.price, each.known_at_ns,
             each.rule, each.words) for each in decisions if each.known_at_ns <= last_ns
        ),
        "orders": sorted(
            (each.venue_order_id or 0, each.contract_id, each.key if not each.key.startswith("#") else None,
             each.type.name, each.side.name, each.size, each.status, each.filled_size, each.filled_price,
             each.limit_price, each.stop_price, each.created_ns) for each in orders
        ),
        "fills": sorted(map(_fill, fills)),
    }  # fmt: skip


def backtested(outcome: Outcome) -> dict[str, Rows]:
    """Return every row of what a backtest did."""
    return {
        "bars": sorted(
            _bar(bar) for history in outcome.histories.values() for bars in history.bars.values() for bar in bars
        ),
        "signals": sorted(
            (each.signal.contract_id, str(each.signal.timeframe), each.signal.analyzer, each.signal.signal_type,
             *each.identity[5:]) for each in outcome.signals
        ),
        "decisions": sorted(
            (each.decision_id, each.contract_id, str(each.action), each.direction, each.price, each.known_at_ns,
             each.rule, each.words) for each in outcome.decisions
        ),
        "orders": sorted(
            (each.order_id, each.contract_id, each.custom_tag, each.type.name, each.side.name, each.size,
             each.status.name.lower(), each.filled_size, each.filled_price, each.limit_price, each.stop_price,
             each.created_ns) for each in outcome.orders
        ),
        "fills": sorted(map(_fill, outcome.fills)),
    }  # fmt: skip


def _bar(bar: Bar) -> tuple[Any, ...]:
    return (bar.contract_id, str(bar.timeframe), bar.start_ns, bar.end_ns, bar.open, bar.high, bar.low, bar.close,
            bar.volume)  # fmt: skip


def _fill(fill: Fill) -> tuple[Any, ...]:
    return (
        fill.fill_id, fill.order_id, fill.contract_id, fill.at_ns, fill.side.name, fill.size, fill.price, fill.fees,
        fill.profit, fill.voided,
    )  # fmt: skip


@pytest.mark.timeout(500)
@pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
@pytest.mark.parametrize("restart_at", [None, "2025-03-17T09:30:00"], ids=["in one run", "with a restart at midday"])
def test_a_day_on_paper_is_its_backtest_row_by_row(tmp_path: Path, url: str, restart_at: str | None) -> None:
    trades = list(synthetic_trades(CONTRACTS, date(2025, 3, 17), seed=7, per_minute=15))
    file = tmp_path / "day.csv"
    write_trades(file, trades)
    last_ns = trades[-1].at_ns
    settings = load_settings(environ={}, **SETTINGS)
    own, histories = wiring_backtest.from_trades(
        settings, wiring_backtest.read_trade_files([file], None), wiring_backtest.Ticks()
    )
    from_ns, to_ns = wiring_backtest.extent(histories)
    wanted = backtested(wiring_backtest.run(own, histories, from_ns, to_ns))
    assert len(wanted["fills"]) > 20
    live(tmp_path, url, file, last_ns, wanted, restart_at)
    found = asyncio.run(recorded(url, last_ns))
    for kind in KINDS:
        assert found[kind] == wanted[kind], kind
