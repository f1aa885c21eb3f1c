"""A minute of 100 contracts with 200 trades a second each: simulator to client to bars, nothing lost, memory flat.

Prints memory of both programs, trades sent and received, and how far the client lagged behind the venue's clock. Ends
with code 1 when a trade is lost or memory grows by more than a tenth after the first ten seconds.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time

import psutil
from pydantic import SecretStr

from escapement.calendars import calendar_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.model import Bar, Timeframe
from escapement.ports import FeedLost, TradesReceived
from escapement.projectx import GatewayClient, GatewayParams, MarketFeed

SECONDS = 60
PER_SECOND = 200
WARM_S = 10
CONTRACTS = [
    f"CON.F.US.{code}.{month}{year}"
    for code in ("MES", "MNQ", "M2K", "MYM", "MGC")
    for month in "HMUZ"
    for year in range(25, 30)
]
TIMEFRAMES = [Timeframe.parse(text) for text in ("1s", "1m", "5m")]


async def watch(programs: dict[str, psutil.Process], curve: list[dict[str, int]]) -> None:
    while True:
        await asyncio.sleep(1)
        curve.append({name: process.memory_info().rss for name, process in programs.items()})


async def receive(venue: dict[str, str], programs: dict[str, psutil.Process]) -> bool:
    stage = OHLCBarAggregator({each: calendar_for_contract(each) for each in CONTRACTS}, TIMEFRAMES)
    curve: list[dict[str, int]] = []
    lags: list[float] = []
    counts = {"received": 0, "volume": 0, "in bars": 0, "holes": 0}
    begun = first_ns = 0.0
    params = GatewayParams(venue["api_url"], "demo", SecretStr("demo-key-0001"))
    async with GatewayClient(params) as client, asyncio.TaskGroup() as group:
        watching = group.create_task(watch(programs, curve))
        feed = MarketFeed(client, venue["market_hub_url"], CONTRACTS)
        async for event in feed.events():
            if isinstance(event, FeedLost):
                counts["holes"] += 1
            if not isinstance(event, TradesReceived):
                continue
            newest = event.trades[-1].at_ns
            if not begun:
                begun, first_ns = time.monotonic(), newest
            counts["received"] += len(event.trades)
            counts["volume"] += sum(trade.volume for trade in event.trades)
            for outcome in stage.push_many(event.trades):
                if isinstance(outcome, Bar) and outcome.timeframe == TIMEFRAMES[0]:
                    counts["in bars"] += outcome.volume
            lags.append(time.monotonic() - begun - (newest - first_ns) / 1e9)
            if counts["received"] >= SECONDS * PER_SECOND * len(CONTRACTS):
                await feed.aclose()
        watching.cancel()
        async with client.session.post(f"{venue['api_url']}/simulator/status", json={}) as response:
            sent = (await response.json())["trades"]
    counts["in bars"] += sum(bar.volume for bar in stage.finish() if bar.timeframe == TIMEFRAMES[0])
    return report(curve, lags, counts, sent)


def report(curve: list[dict[str, int]], lags: list[float], counts: dict[str, int], sent: int) -> bool:
    fine = counts["volume"] == counts["in bars"] and counts["holes"] == 0
    for name in curve[0]:
        sizes = [each[name] / 1e6 for each in curve[WARM_S:]]
        shown = " ".join(f"{size:.0f}" for size in sizes[::10])
        print(f"{name:10} memory after {WARM_S} s and each 10 s: {shown} MB")
        fine = fine and sizes[-1] < 1.1 * sizes[0]
    cuts = statistics.quantiles(lags, n=100)
    floor = min(lags)
    p50, p99 = ((cuts[cut] - floor) * 1e3 for cut in (49, 98))
    print(f"lag        p50 {p50:.1f} ms, p99 {p99:.1f} ms behind the venue's clock")
    print(f"trades     {counts['received']:,} received of {sent:,} sent by then, {counts['holes']} holes")
    print(f"volume     {counts['volume']:,} received, {counts['in bars']:,} in bars")
    return fine


def main() -> None:
    many = [part for contract_id in CONTRACTS for part in ("--contract", contract_id)]
    venue = subprocess.Popen(
        [sys.executable, "-m", "escapement", "simulate", "--json", "--port", "0", "--speed", "1",
         "--per-minute", str(60 * PER_SECOND), *many],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert venue.stdout is not None
        programs = {"simulator": psutil.Process(venue.pid), "client": psutil.Process()}
        fine = asyncio.run(receive(json.loads(venue.stdout.readline()), programs))
    finally:
        venue.terminate()
        venue.wait()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
