"""*Data*: whether anything is missing: sessions by contract, gaps and their repairs, how far the feed is behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from fastapi import Request
from nicegui import html, ui

from escapement.web.pages.components import Calendar, Cell, Row, Sheet, at, row
from escapement.web.pages.fields import select
from escapement.web.pages.frame import ICON, Page, Site, attempt, framed, panel
from escapement.web.reading import Reading
from escapement.web.reading.chart import KnownContract
from escapement.web.reading.data import FeedShown, GapShown, SessionShown

_FEED_POLL_S: Final = 1.0
_GAPS_POLL_S: Final = 3.0
_SESSIONS_POLL_S: Final = 30.0
_CONTRACTS_AT_ONCE: Final = 4
_MOST_GAPS: Final = 200
_MOST_STRETCHES: Final = 100
_WEEKS: Final = {"5": "5 weeks", "13": "13 weeks", "26": "half a year"}
_LATE_S: Final = 5.0
_EVENING: Final = timedelta(hours=2)


def register(site: Site) -> None:
    """Serve the page."""

    @ui.page("/data", favicon=ICON)
    async def data(request: Request) -> None:
        contracts = [each for each in await site.parts.reading.contracts() if each.timeframes]
        with framed(site, request, "/data") as page:
            with panel("Feed", "how far each contract was heard", "cards"):
                feed = Sheet(
                    "Feed", ["contract", "market", ">behind", "heard to", "told at"],
                    "Nothing was heard yet: start escapement run.",
                )  # fmt: skip
            _Sessions(page, contracts)
            with panel("Gaps", "stretches in which trades may have been missed, and their repair", "cards tall"):
                gaps = Sheet(
                    "Gaps",
                    [
                        "contract",
                        "state",
                        "from",
                        "to",
                        "cause",
                        "opened",
                        "closed",
                        ">attempts",
                        ">bars revised",
                        "note",
                    ],
                    "No gap was ever noticed.",
                )
            reading = site.parts.reading
            shown = site.hub.topic("feed", lambda: _feed(reading), frozenset(), _FEED_POLL_S)
            feed.show(await shown.latest())
            page.follow(shown, feed.show)
            found = site.hub.topic("gaps", lambda: _gaps(reading), frozenset({"bar_revisions"}), _GAPS_POLL_S)
            gaps.show(await found.latest())
            page.follow(found, gaps.show)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which sessions to look at."""

    timeframe: str
    weeks: str


class _Sessions:
    """The calendars of one browser."""

    def __init__(self, page: Page, contracts: Sequence[KnownContract]) -> None:
        self._page = page
        self._contracts = contracts
        # The smallest says most: it is what larger ones are made of.
        timeframes = list(dict.fromkeys(name for each in contracts for name in each.timeframes))
        self._wanted = _Wanted("", "5")
        self._leave: list[Callable[[], None]] = []
        ui.context.client.on_delete(self._unfollow)
        with panel("Sessions", "how much of each trading day is known; choose a day to see what is missing"):
            with html.div().classes("fields"):
                offered = {"": "smallest"} | {each: each for each in timeframes}
                select("Timeframe", offered, "", lambda value: self._choose(timeframe=value))
                select("Back to", _WEEKS, "5", lambda value: self._choose(weeks=value))
            html.p("Green: all of it is known. Amber: some is not. Red: most is not.").classes("soft empty")
            self._calendars = html.div().classes("columns")
            self._day = html.div()
        self._fill()

    async def _choose(self, timeframe: str | None = None, weeks: str | None = None) -> None:
        old = self._wanted
        self._wanted = _Wanted(old.timeframe if timeframe is None else timeframe, weeks or old.weeks)
        self._fill()

    def _unfollow(self) -> None:
        for leave in self._leave:
            leave()
        self._leave = []

    def _fill(self) -> None:
        self._unfollow()
        self._calendars.clear()
        self._day.clear()
        with self._calendars:
            if not self._contracts:
                html.p("No contract is known yet. Name some in the settings and start escapement run.").classes("empty")
            for contract in self._contracts[:_CONTRACTS_AT_ONCE]:
                self._calendar(contract.contract_id)
            rest = self._contracts[_CONTRACTS_AT_ONCE:]
            if rest:
                with html.div():
                    names = {"": "choose"} | {each.contract_id: each.contract_id for each in rest}
                    select("Another contract", names, "", self._add)

    def _add(self, contract_id: str) -> None:
        if contract_id:
            with self._calendars:
                self._calendar(contract_id)

    def _calendar(self, contract_id: str) -> None:
        wanted, reading = self._wanted, self._page.site.parts.reading
        with html.div():
            html.h2(contract_id)
            calendar = Calendar(
                f"Sessions of {contract_id}", "No session has ended yet.", lambda day: self._explain(contract_id, day)
            )
        topic = self._page.site.hub.topic(
            ("sessions", contract_id, wanted),
            lambda: _sessions(reading, contract_id, wanted),
            frozenset(),
            _SESSIONS_POLL_S,
        )
        self._leave.append(self._page.watch(topic, lambda found: calendar.show([_square(each) for each in found])))

    async def _explain(self, contract_id: str, day: str) -> None:
        reading, wanted = self._page.site.parts.reading, self._wanted

        async def explain() -> None:
            on = date.fromisoformat(day)
            found = await reading.completeness(contract_id, on, on + timedelta(days=1), wanted.timeframe or None)
            self._day.clear()
            with self._day:
                for each in found:
                    if each.trade_date == on:
                        _show_session(each)

        await attempt(explain)


async def _sessions(reading: Reading, contract_id: str, wanted: _Wanted) -> list[SessionShown]:
    known = next((each for each in await reading.contracts() if each.contract_id == contract_id), None)
    if known is None or known.first is None or known.last is None:
        return []
    # A session begins in the evening before its day. What lies before the first bar was not to be known.
    first, end = ((each + _EVENING).date() for each in (known.first, known.last))
    begin = max(first, end - timedelta(weeks=int(wanted.weeks)))
    return list(await reading.completeness(contract_id, begin, end, wanted.timeframe or None))


def _square(session: SessionShown) -> dict[str, Any]:
    known = 1.0 if not session.expected else 1 - session.unknown / session.expected
    tone = "good" if session.unknown == 0 else "warn" if known >= 0.5 else "bad"
    words = (
        f"{session.trade_date}: {session.unknown:,} of {session.expected:,} unknown; {session.live:,} live, "
        f"{session.history:,} from history, {session.empty:,} without trades"
    )
    return {"day": f"{session.trade_date}", "tone": tone, "words": words}


def _show_session(session: SessionShown) -> None:
    html.h2(f"{session.contract_id} {session.timeframe}, session of {session.trade_date}")
    html.p(_square(session)["words"]).classes("soft")
    sheet = Sheet("What is unknown", ["from", "to"], "All of it is known.")
    sheet.show([row(each.begin, at(each.begin), at(each.end)) for each in session.stretches[:_MOST_STRETCHES]])


async def _feed(reading: Reading) -> list[Row]:
    return [_feed_row(each) for each in await reading.feed()]


def _feed_row(feed: FeedShown) -> Row:
    late = feed.behind_s is not None and feed.is_open and feed.behind_s > _LATE_S
    behind: Cell = "" if feed.behind_s is None else {"v": f"{feed.behind_s:,.1f} s", "tone": "warn" if late else ""}
    market: Cell = {"v": "open", "tone": "good"} if feed.is_open else {"v": "closed", "tone": "soft"}
    return row(feed.contract_id, feed.contract_id, market, behind, at(feed.heard_to), at(feed.told_at))


async def _gaps(reading: Reading) -> list[Row]:
    return [_gap_row(each) for each in await reading.gaps(most=_MOST_GAPS)]


def _gap_row(gap: GapShown) -> Row:
    state: Cell = {"v": "open", "tone": "bad"} if gap.open else {"v": "closed", "tone": "good"}
    return row(
        (gap.contract_id, gap.begin, gap.cause), gap.contract_id, state, at(gap.begin),
        at(gap.end) or {"v": "lasts", "tone": "warn"}, gap.cause, at(gap.opened_at, "short"),
        at(gap.closed_at, "short"), gap.attempts, gap.revised, " ".join(filter(None, (gap.detail, gap.reason))),
    )  # fmt: skip
