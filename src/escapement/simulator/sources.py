"""Where the simulated venue's trades come from: files of trades, files of bars, or a seeded market."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path

from escapement.calendars import calendar_for_contract
from escapement.csvfiles import read_bars, read_trades
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, AggressorSide, Bar, Session, SessionCalendar, Trade
from escapement.simulator.contracts import contract_facts

_FIRST_PRICES = {"EP": 6_000.0, "MES": 6_000.0, "ENQ": 21_000.0, "MNQ": 21_000.0, "CLE": 70.0, "GCE": 2_600.0}


def trades_from_file(path: Path, contract_id: str | None = None) -> list[Trade]:
    """Return a file's trades in order of time; equal times keep the file's order.

    Raises:
        InvalidInput: the file cannot be used.
    """
    return sorted(read_trades(path, contract_id), key=_by_time)


def trades_from_bar_file(path: Path, calendar: str | None = None) -> list[Trade]:
    """Return trades that rebuild exactly the bars of a file, in order of time.

    Raises:
        InvalidInput: the file cannot be used, or holds several timeframes.
    """
    bars = list(read_bars(path, lambda contract_id: calendar_for_contract(contract_id, calendar)))
    timeframes = sorted({bar.timeframe for bar in bars})
    if len(timeframes) > 1:
        names = ", ".join(map(str, timeframes))
        raise InvalidInput(f"{path}: holds bars of several timeframes ({names}); replay one of them")
    return sorted(
        (trade for bar in bars for trade in trades_of_bar(bar, calendar_for_contract(bar.contract_id, calendar))),
        key=_by_time,
    )


def trades_of_bar(bar: Bar, calendar: SessionCalendar) -> list[Trade]:
    """Return at most four trades whose bar is ``bar``: open, the extremes on the likelier path, close.

    A bar of fewer contracts than it has prices gets trades of volume zero.

    Raises:
        InvalidInput: the calendar has no such bar.
    """
    interval = calendar.interval_labelled(bar.timeframe, bar.start_ns)
    if interval is None:
        raise InvalidInput(f"bar {bar.start_ns} {bar.timeframe} of {bar.contract_id} is unknown to its calendar")
    extremes = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    prices = [price for price, _ in groupby((bar.open, *extremes, bar.close))]
    share, rest = divmod(bar.volume, len(prices))
    step = min((interval.end_ns - interval.open_ns) // 4, 60 * NS_PER_SECOND)
    return [
        Trade(bar.contract_id, interval.open_ns + index * step, price, share + (rest if index == 0 else 0))
        for index, price in enumerate(prices)
    ]


def synthetic_trades(
    contract_ids: Sequence[str], day: date, *, seed: int, per_minute: float, calendar: str | None = None
) -> Iterator[Trade]:
    """Yield an invented session of each contract: a random walk on the tick grid, the same for the same seed.

    Args:
        contract_ids: whose trades to invent.
        day: the trade date.
        seed: of the randomness.
        per_minute: how many trades a minute of one contract on average.
        calendar: the sessions' name; else by product.

    Raises:
        InvalidInput: the market does not trade on that day.
    """
    return merged(
        _walk(contract_id, _session(calendar_for_contract(contract_id, calendar), day), seed, per_minute)
        for contract_id in contract_ids
    )


def merged(streams: Iterable[Iterable[Trade]]) -> Iterator[Trade]:
    """Yield the trades of several ordered streams in order of time."""
    return heapq.merge(*streams, key=_by_time)


def _session(calendar: SessionCalendar, day: date) -> Session:
    for session in calendar.sessions:
        if session.trade_date == day:
            return session
    raise InvalidInput(f"{day} is no trade date of calendar {calendar.name}; choose a day on which the market trades")


def _walk(contract_id: str, session: Session, seed: int, per_minute: float) -> Iterator[Trade]:
    chance = random.Random(f"{seed} {contract_id} {session.trade_date}")  # noqa: S311 - repeatable on purpose
    facts = contract_facts(contract_id)
    tick = float(facts.tick_size)
    ticks = round(_FIRST_PRICES.get(facts.symbol_id.rpartition(".")[2], 1_000.0) / tick)
    for period in session.periods:
        at_ns = period.open_ns
        while at_ns < period.close_ns:
            step = chance.choice((-1, 0, 0, 1))
            ticks = max(1, ticks + step)
            side = AggressorSide.BUY if step > 0 or (step == 0 and chance.random() < 0.5) else AggressorSide.SELL
            # From the decimal tick, so that prices are exactly those a venue quotes.
            yield Trade(contract_id, at_ns, float(ticks * facts.tick_size), chance.randint(1, 9), side)
            at_ns += 1 + round(chance.expovariate(per_minute) * 60 * NS_PER_SECOND)


def _by_time(trade: Trade) -> int:
    return trade.at_ns
