"""How quickly signals become decisions: the rules alone, with storage, and from stored signal to stored decision."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from escapement import rulebook, wiring
from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.core.coordination import Coordinator, Remark
from escapement.logs import configure_logging
from escapement.model import NS_PER_SECOND, Bar, BarSource, Coverage, HeardSignal, Trade
from escapement.moments import ns_from_iso
from escapement.services.plan import params_text
from escapement.settings import Settings, load_settings
from escapement.simulator import Simulator, SimulatorConfig, synthetic_trades
from escapement.storage import DBHandler, migrate
from escapement.storage.embedded import embedded_server

MES = "CON.F.US.MES.M25"
RULES = {
    "entries": [
        {"rule": "confluence", "timeframes": ["1h", "15m"], "within": "4h"},
        {"rule": "weighted", "timeframe_weights": {"1h": 2, "15m": 1, "5m": 1}, "threshold": 3, "half_life": "2h"},
    ],
    "gates": [{"rule": "cooldown", "length": "15m"}],
    "exits": [{"rule": "opposite_signal", "timeframes": ["15m"]}],
}
LATENCY = """
    SELECT extract(epoch FROM decision.decided_at - max(said.stored_at)) * 1000
    FROM decisions AS decision
    JOIN decision_log AS note USING (decision_id)
    JOIN detected_signals AS said USING (signal_id)
    GROUP BY decision.decision_id
"""


def settings(**more: Any) -> Settings:
    """Return settings of one contract with trend starts on six timeframes and four rules."""
    return load_settings(environ={}, **{"contracts": [MES], "coordinator": RULES, **more})


def month() -> list[Bar]:
    """Return the bars of a month in which the price walks at random."""
    chance, price, trades = random.Random(1), 22_000, []
    begin_ns, end_ns = ns_from_iso("2025-02-03T00:00:00Z"), ns_from_iso("2025-03-03T00:00:00Z")
    for session in calendar_for_contract(MES).sessions_between(begin_ns, end_ns):
        for at_ns in range(session.open_ns, session.close_ns, 30 * NS_PER_SECOND):
            price += chance.randint(-3, 3)
            trades.append(Trade(MES, at_ns, price / 4, 1))
    stage = OHLCBarAggregator({MES: calendar_for_contract(MES)}, settings().timeframes, tolerance_ns=0)
    return [each for each in (*stage.push_many(trades), *stage.finish()) if isinstance(each, Bar)]


def signals_of(bars: Sequence[Bar], chosen: Settings) -> list[HeardSignal]:
    """Return what the analyzers say of the bars."""
    found = []
    for run in wiring.analyzer_runs(chosen):
        for timeframe, params in run.params.items():
            machine = run.plugin.create(params)
            for bar in (each for each in bars if each.timeframe == timeframe):
                for each in machine.push(bar):
                    direction = rulebook.directions(chosen.coordinator)[each.signal_type]
                    found.append(HeardSignal(each, 1, params_text(params), bar.close, direction))
    return sorted(found, key=lambda heard: heard.signal.known_at_ns)


def weigh(signals: Sequence[HeardSignal], chosen: Settings) -> list[Remark]:
    """Weigh them as they become known."""
    rules = wiring.coordination_rules(chosen, wiring.analyzer_runs(chosen))
    coordinator = Coordinator(MES, rules, calendar_for_contract(MES))
    for each in signals:
        coordinator.push(each)
    return list(coordinator.advance(signals[-1].signal.known_at_ns))


async def copied(database: DBHandler, remarks: Sequence[Remark]) -> float:
    """Store what was said by raw COPY into a table without keys, the least that storing it can cost; return seconds."""
    await database.pool.execute("CREATE TABLE raw_log (signal_id bigint, verdicts text)")
    began = time.perf_counter()
    rows = [
        (n, orjson.dumps([[said.rule, said.stands, said.words, said.values] for said in each.verdicts]).decode())
        for n, each in enumerate(remarks)
    ]
    for n in range(0, len(rows), 200):
        await database.pool.copy_records_to_table("raw_log", records=rows[n : n + 200])
    return time.perf_counter() - began


async def throughput(url: str) -> None:
    """Weigh a month's signals, with and without storage."""
    bars, chosen = month(), settings()
    signals = signals_of(bars, chosen)
    began = time.perf_counter()
    remarks = weigh(signals, chosen)
    alone_s = time.perf_counter() - began
    async with await DBHandler.open(url) as database:
        await database.store_bars(bars)
        begin_ns, end_ns = bars[0].start_ns, max(bar.end_ns for bar in bars)
        await database.set_periods(MES, calendar_for_contract(MES).sessions_of_whole_months(begin_ns, end_ns))
        await database.store_observed([], [Coverage(MES, begin_ns, end_ns, BarSource.LIVE)], [], None)
        async with wiring.analysis(chosen, database) as analysis:
            await analysis.catch_up()
        service = wiring.coordination(chosen, database)
        began = time.perf_counter()
        await service.catch_up()
        stored_s = time.perf_counter() - began
        assert service.statistics().signals == len(signals) == len(remarks)
        raw_s = await copied(database, remarks)
    count = len(signals)
    print(f"{count:,} signals of a month, {service.statistics().decisions:,} decisions")
    print(f"rules alone          {count / alone_s:9,.0f} signals/s")
    print(f"with storage         {count / stored_s:9,.0f} signals/s")
    print(f"rules and raw COPY   {count / (alone_s + raw_s):9,.0f} signals/s; with storage takes "
          f"{stored_s / (alone_s + raw_s):.1f} times as long")  # fmt: skip


async def latency(url: str) -> None:
    """Run the chain in one process for a minute at sixty times the speed of time; print stored signal to decision."""
    trades = list(synthetic_trades([MES], date(2025, 3, 18), seed=1, per_minute=60))
    end_ns = trades[0].at_ns + 3_600 * NS_PER_SECOND
    config = SimulatorConfig([MES], speed=60, audience="start")
    async with Simulator(config, [trade for trade in trades if trade.at_ns < end_ns]) as venue:
        user, key = next(iter(config.users.items()))
        chosen = settings(
            timeframes=["1m", "5m", "15m", "1h"],
            coordinator={"entries": ["pass_through"]},
            gateway={
                "api_url": venue.base_url, "market_hub_url": venue.market_hub_url, "user_hub_url": venue.user_hub_url,
                "user_name": user, "api_key": key.get_secret_value(),
            },
            ingest={"clock": "stream", "replay_speed": 60}, database={"url": url},
        )  # fmt: skip
        async with (
            wiring.database(chosen, more_connections=2) as database,
            wiring.ingestion(chosen, database) as ingestion,
            wiring.analysis(chosen, database) as analysis,
        ):
            coordination = wiring.coordination(chosen, database)
            tasks = [asyncio.create_task(each.run()) for each in (ingestion, analysis, coordination)]
            await venue.finished.wait()
            ingestion.stop()
            await tasks[0]
            for service in (analysis, coordination):
                service.stop()
            await asyncio.gather(*tasks)
            waits = sorted(float(str(row[0])) for row in (await database.read(LATENCY))[1])
    print(f"stored signal to stored decision, {len(waits)} decisions: p50 {statistics.median(waits):.1f} ms, "
          f"p99 {waits[int(len(waits) * 0.99)]:.1f} ms")  # fmt: skip


async def main() -> None:
    """Measure all."""
    with tempfile.TemporaryDirectory() as name, embedded_server(Path(name)) as url:
        await migrate(url)
        await throughput(url)
    with tempfile.TemporaryDirectory() as name, embedded_server(Path(name)) as url:
        await migrate(url)
        await latency(url)


if __name__ == "__main__":
    configure_logging("critical", "json")
    asyncio.run(main())
