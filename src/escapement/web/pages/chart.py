"""*Chart*: candles of a contract, the growing one moving, with all that was found, decided, ordered and filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from fastapi import Request
from nicegui import html, ui

from escapement.storage.database import FORMING
from escapement.web.pages import candleview
from escapement.web.pages.candleview import Plain, Series
from escapement.web.pages.components import CandleChart, echarts_early
from escapement.web.pages.fields import select
from escapement.web.pages.frame import ICON, Page, Site, attempt, framed
from escapement.web.reading.chart import KnownContract

_LIKED: Final = ("5m", "1m", "15m", "1h")  # timeframes to begin with, where there are bars of them
_POLL_S: Final = 4.0
_MARKS_POLL_S: Final = 2.5  # orders and fills ring no bell
_OUTLINE_POLL_S: Final = 60.0
_CONTRACTS_POLL_S: Final = 10.0
_EMPTY: Final = (
    "There are no bars yet. Name contracts and a gateway in the settings and start escapement run, or try "
    "escapement demo; bars appear here as they are built."
)


def register(site: Site) -> None:
    """Serve the page."""

    @ui.page("/", favicon=ICON)
    async def chart(request: Request, contract: str = "", timeframe: str = "") -> None:
        known = [each for each in await _contracts(site) if each.timeframes]
        series = chosen(known, contract, timeframe)
        first = None if series is None else await candleview.opening(site.parts.reading, series)
        with framed(site, request, "/") as page:
            if series is None or first is None:
                html.p(_EMPTY).classes("empty panel")
            else:
                ui.add_head_html(echarts_early())
                _Chart(page, known, series, first)


def chosen(known: Sequence[KnownContract], contract: str, timeframe: str) -> Series | None:
    """Return the series to show: what was asked for where it is known, else the contract whose bars are newest."""
    if not known:
        return None
    by_id = {each.contract_id: each for each in known}
    found = by_id.get(contract) or max(known, key=_freshness)
    if timeframe in found.timeframes:
        return Series(found.contract_id, timeframe)
    return Series(found.contract_id, next((each for each in _LIKED if each in found.timeframes), found.timeframes[0]))


def _freshness(contract: KnownContract) -> tuple[bool, float]:
    last: datetime | None = contract.last
    return contract.configured and last is not None, 0.0 if last is None else last.timestamp()


async def _contracts(site: Site) -> Sequence[KnownContract]:
    bells = frozenset[str]()
    return await site.hub.topic("contracts", site.parts.reading.contracts, bells, _CONTRACTS_POLL_S).latest()


class _Chart:
    """The chart of one browser."""

    def __init__(self, page: Page, known: Sequence[KnownContract], series: Series, opening: Plain) -> None:
        self._page, self._site = page, page.site
        self._known = known
        self._series = series
        self._first: int | None = opening["first"]
        self._sent_to: int = opening["until"] or 0
        self._tail: Plain | None = None
        self._marks: Plain | None = None
        self._leave: list[Callable[[], None]] = []
        self._client = ui.context.client
        with html.section().classes("panel"):
            with html.div().classes("fields"):
                self._selects()
            self._chart = CandleChart(series.name, opening, self._ask)
        self._client.on_delete(self._unfollow)
        self._client.on_connect(self._catch_up)
        self._follow()

    def _selects(self) -> None:
        ids = [each.contract_id for each in self._known]
        select("Contract", ids, self._series.contract_id, lambda value: self._switch(value, self._series.timeframe))
        self._timeframes = html.div()
        self._fill_timeframes()

    def _fill_timeframes(self) -> None:
        contract = next(each for each in self._known if each.contract_id == self._series.contract_id)
        self._timeframes.clear()
        with self._timeframes:
            select(
                "Timeframe", contract.timeframes, self._series.timeframe,
                lambda value: self._switch(self._series.contract_id, value),
            )  # fmt: skip

    async def _switch(self, contract_id: str, timeframe: str) -> None:
        series = chosen(self._known, contract_id, timeframe)
        if series is None:
            return

        async def switch() -> None:
            opening = await candleview.opening(self._site.parts.reading, series)
            self._unfollow()
            self._series, self._first = series, opening["first"]
            self._sent_to = opening["until"] or 0
            self._fill_timeframes()
            self._chart.run_method("open", opening)
            self._follow()
            await self._outline()

        await attempt(switch)

    async def _ask(self, wish: Plain) -> None:
        reading, series = self._site.parts.reading, self._series

        async def ask() -> None:
            found = await candleview.window(reading, series, self._first, wish)
            if series == self._series:
                self._chart.run_method("window", found)

        await attempt(ask)

    def _follow(self) -> None:
        reading, series = self._site.parts.reading, self._series
        topic, contract_id = self._site.hub.topic, series.contract_id
        bells = frozenset({f"ohlc_bars {series.name}", "bar_revisions"})
        tail = topic(("tail", series), lambda: candleview.tail(reading, series), bells, _POLL_S)
        bells = frozenset({f"{FORMING} {contract_id}"})
        growing = topic(("growing", series), lambda: candleview.growing(reading, series), bells, _POLL_S)

        async def newest_marks() -> Plain:
            return await candleview.newest_marks(reading, series, await tail.latest())

        bells = frozenset({f"detected_signals {series.name}", f"decisions {contract_id}", "kill_switch"})
        marks = topic(("marks", series), newest_marks, bells, _MARKS_POLL_S)
        watch = self._page.watch
        self._leave = [watch(tail, self._move), watch(growing, self._grow), watch(marks, self._mark)]

    def _unfollow(self) -> None:
        for leave in self._leave:
            leave()
        self._leave = []
        self._tail = self._marks = None

    def _move(self, tail: Plain) -> None:
        """Send the bars from the one that was the newest on; when more came than the tail holds, all anew."""
        self._tail = tail
        bars = tail["bars"]
        if not bars or not self._is_there:
            return
        if bars[0][0] > self._sent_to:
            self._chart.run_method("again")
        else:
            self._chart.run_method("move", {**tail, "bars": [each for each in bars if each[0] >= self._sent_to]})
        self._sent_to = bars[-1][0]

    def _grow(self, growing: Plain) -> None:
        if growing["bars"] and self._is_there:
            self._chart.run_method("grow", growing)

    def _mark(self, marks: Plain) -> None:
        self._marks = marks
        if self._is_there:
            self._chart.run_method("marks", marks)

    @property
    def _is_there(self) -> bool:
        """Whether the browser listens; what it misses is not kept: it is told what there is when it comes back."""
        return self._client.has_socket_connection and not self._chart.is_deleted

    async def _outline(self) -> None:
        """Show the whole series below the candles; it may take longer to read than them."""
        reading, series = self._site.parts.reading, self._series
        topic = self._site.hub.topic(
            ("outline", series), lambda: candleview.outline(reading, series), frozenset(), _OUTLINE_POLL_S
        )
        found = await topic.latest()
        if series == self._series and found["line"]:
            self._first = found["line"][0][0]
            self._chart.run_method("outline", found)

    async def _catch_up(self) -> None:
        await attempt(self._outline)
        for told, tell in ((self._tail, self._move), (self._marks, self._mark)):
            if told is not None:
                tell(told)
