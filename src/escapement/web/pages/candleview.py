"""Candles and marks as the chart takes them: plain data, moments in milliseconds since 1970 UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

from escapement.model import Timeframe
from escapement.web.pages.components import ms
from escapement.web.reading import MOST_MARKS, Reading
from escapement.web.reading.chart import Candle, Candles, Marks

Plain: TypeAlias = dict[str, Any]

OPENING: Final = 1_000  # candles, three screens of a large monitor
_OVERVIEW: Final = 400
_TAIL: Final = 60
_EVER: Final = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_DAY_MS: Final = 86_400_000
_PRICES_LOOKED_AT: Final = 200
_MOST_DECIMALS: Final = 9


@dataclass(frozen=True, slots=True)
class Series:
    """The bars of a contract on a timeframe."""

    contract_id: str
    timeframe: str

    @property
    def name(self) -> str:
        """Return what tells it from others, as notifications of the database name it."""
        return f"{self.contract_id} {self.timeframe}"


async def opening(reading: Reading, series: Series) -> Plain:
    """Return the newest candles with their marks."""
    newest = await reading.candles(series.contract_id, series.timeframe, most=OPENING)
    return await _window(reading, series, newest, None, None)


async def outline(reading: Reading, series: Series) -> Plain:
    """Return the whole series in few points: moments and closes."""
    found = await reading.candles(series.contract_id, series.timeframe, _EVER[0], most=_OVERVIEW)
    return {"series": series.name, "line": [[ms(each.start), each.close] for each in found.candles]}


async def window(reading: Reading, series: Series, first: int | None, wish: Plain) -> Plain:
    """Return the candles between two moments with their marks.

    Args:
        reading: of them.
        series: which.
        first: the first moment of the series.
        wish: ``from``, ``to`` and ``points`` as the browser asks for them.
    """
    begin, end = (_moment(float(wish[name])) for name in ("from", "to"))
    points = max(50, min(5_000, int(wish["points"])))
    known = await reading.candles(series.contract_id, series.timeframe, most=10)
    last = _last(known)
    beyond = last is None or end >= last
    begin = min(begin, end - timedelta(minutes=1))
    found = await reading.candles(series.contract_id, series.timeframe, begin, None if beyond else end, points)
    return await _window(reading, series, found, first, None if beyond else ms(last))


async def tail(reading: Reading, series: Series) -> Plain:
    """Return the newest bars, the growing one last; ``done`` is the start of the last that is complete."""
    found = await reading.candles(series.contract_id, series.timeframe, most=_TAIL)
    done = found.candles[-1].start if found.candles else None
    return {"series": series.name, "bars": _bars(found), "done": ms(done)}


async def growing(reading: Reading, series: Series) -> Plain:
    """Return the bar that is growing, as the only one of ``bars``, or none."""
    found = await reading.forming(series.contract_id, series.timeframe)
    return {"series": series.name, "bars": [] if found is None else [_bar(found)]}


async def newest_marks(reading: Reading, series: Series, newest: Plain) -> Plain:
    """Return what happened since the first bar of the tail ``newest``; ``since`` is that moment."""
    since = _moment(newest["bars"][0][0]) if newest["bars"] else _EVER[0]
    marks = await reading.marks(series.contract_id, since, _EVER[1], series.timeframe, MOST_MARKS)
    return {"series": series.name, "since": ms(since), **_marks(marks)}


async def _window(reading: Reading, series: Series, found: Candles, first: int | None, last: int | None) -> Plain:
    bars = _bars(found)
    timeframe = Timeframe.parse(series.timeframe)
    length_ms = timeframe.length_ns // 1_000_000 or _DAY_MS
    marks: Plain = {"signals": [], "decisions": [], "orders": [], "fills": [], "gaps": []}
    if found.candles:
        begin, end = found.candles[0].start, _EVER[1] if last is None else found.candles[-1].end
        marks = _marks(await reading.marks(series.contract_id, begin, end, series.timeframe, MOST_MARKS))
    oldest, newest = (ms(found.candles[0].start) if found.candles else None), (bars[-1][0] if bars else None)
    return {
        "series": series.name, "merged": found.merged, "step": length_ms * found.merged, "bars": bars,
        "daily": not timeframe.is_intraday, "decimals": _decimals(found.candles),
        "first": min((each for each in (first, oldest) if each is not None), default=None),
        "last": newest if last is None else last, "until": newest,
        "done": ms(found.candles[-1].start) if found.candles else None, **marks,
    }  # fmt: skip


def _bars(found: Candles) -> list[list[float | int]]:
    every = [*found.candles, *([] if found.forming is None else [found.forming])]
    return [_bar(each) for each in every]


def _bar(candle: Candle) -> list[float | int]:
    start = int(candle.start.timestamp() * 1000)
    return [start, candle.open, candle.high, candle.low, candle.close, candle.volume]


def _marks(marks: Marks) -> Plain:
    return {
        "signals": [
            {"id": each.signal_id, "t": ms(each.bar), "u": ms(each.trigger), "k": ms(each.known_at),
             "d": each.direction, "p": each.price, "name": each.signal_type, "by": each.analyzer}
            for each in marks.signals if each.holds
        ],
        "decisions": [
            {"id": each.decision_id, "t": ms(each.known_at), "d": None if each.action == "hold" else each.direction,
             "p": each.price, "w": f"{each.action.replace('_', ' ')}: {each.words}"}
            for each in marks.decisions
        ],
        "orders": [
            {"id": each.order, "t": ms(each.at), "u": ms(each.until), "p": each.price, "role": each.role,
             "side": each.side, "n": each.size}
            for each in marks.orders if each.price is not None
        ],
        "fills": [
            {"id": each.fill_id, "t": ms(each.at), "side": each.side, "n": each.size, "p": each.price}
            for each in marks.fills
        ],
        "gaps": [
            {"id": f"{ms(each.begin)} {each.cause}", "t": ms(each.begin), "u": ms(each.end), "w": each.cause,
             "open": each.open}
            for each in marks.gaps
        ],
        "cut": marks.cut,
    }  # fmt: skip


def _decimals(candles: Sequence[Candle]) -> int:
    """Return how many decimals the prices have, for none of them says what its tick is."""
    prices = {price for each in candles[-_PRICES_LOOKED_AT:] for price in (each.open, each.high, each.low, each.close)}
    exponents = (Decimal(repr(price)).normalize().as_tuple().exponent for price in prices)
    return max((min(_MOST_DECIMALS, -each) for each in exponents if isinstance(each, int)), default=0) if prices else 2


def _last(found: Candles) -> datetime | None:
    if found.forming is not None:
        return found.forming.start
    return found.candles[-1].start if found.candles else None


def _moment(at_ms: float) -> datetime:
    """Return what the browser asks for as a moment; what no market can have becomes the nearest that one can."""
    earliest, latest = (each.timestamp() for each in _EVER)
    return datetime.fromtimestamp(max(earliest, min(latest, at_ms / 1000)), UTC)
