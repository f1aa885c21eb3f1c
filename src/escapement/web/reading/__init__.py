"""What is stored, as pages and API show it: plain frozen values, times as aware datetimes UTC.

``Reading`` is all there is to ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Final

import structlog

from escapement import rulebook, wiring_execution
from escapement.errors import ConfigurationError, InvalidInput, InvalidTimeframe, StorageError
from escapement.model import SessionCalendar, Timeframe
from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.coordination import CoordinationStore
from escapement.storage.doorbell import Doorbell
from escapement.storage.health import ALIVE_S, HealthStore
from escapement.storage.viewing import ViewStore
from escapement.web.reading import chart, data, system, why
from escapement.web.reading.chart import Candle, Candles, KnownContract, Marks
from escapement.web.reading.data import FeedShown, GapShown, SessionShown
from escapement.web.reading.forming import FormingBars
from escapement.web.reading.moments import bounded, market_now_ns, moment, ns_or_none
from escapement.web.reading.now import Now, NowReading
from escapement.web.reading.system import System
from escapement.web.reading.why import Choices, DecisionShown, NoteShown, Why, WhyNot

log = structlog.get_logger(service="dashboard")

MOST_CANDLES: Final = 2_000
MOST_MARKS: Final = 500
_LARGEST_ID: Final = 2**63 - 1
_LONGEST_TEXT: Final = 500
_RETRY_S: Final = 5.0
_A_DAY: Final = timedelta(days=1)


class Reading:
    """The database as the dashboard sees it; every method raises StorageError when it does not answer.

    What cannot be asked for (an unknown timeframe, an end before its begin) is refused with ConfigurationError.
    """

    def __init__(self, settings: Settings, database: DBHandler) -> None:
        self._settings = settings
        self._database = database
        self._views = ViewStore(database)
        self._coordination = CoordinationStore(database)
        self._calendar_of = wiring_execution.calendars_of(settings)
        self._directions = rulebook.directions(settings.coordinator)
        self._forming = FormingBars(self._views, self._calendar_of)
        self._now = NowReading(settings, database)

    async def prepare(self) -> None:
        """Work out the sessions of the contracts there are, which takes half a second, before anybody waits for it."""
        for each in await self.contracts():
            with suppress(ConfigurationError):  # of a product whose sessions are not known
                await asyncio.to_thread(self._calendar_of, each.contract_id)

    async def listen(self, doorbell: Doorbell) -> None:
        """Follow the bars that are growing until cancelled; without it they are known as they were saved last."""
        while True:
            try:
                await self._forming.listen(doorbell)
            except StorageError as error:
                log.error("forming_unheard", reason=str(error))  # noqa: TRY400 - the message says it all
            await asyncio.sleep(_RETRY_S)

    async def contracts(self) -> Sequence[KnownContract]:
        """Return the contracts there is anything of, those of the settings first."""
        return await chart.contracts(self._settings, self._views)

    async def candles(
        self,
        contract_id: str,
        timeframe: str,
        begin: datetime | None = None,
        end: datetime | None = None,
        most: int = MOST_CANDLES,
    ) -> Candles:
        """Return the candles labelled in ``[begin, end)``, at most ``most``: merged where there are more bars.

        Without ``end`` up to now, with the forming bar; without ``begin`` the ``most`` newest bars before ``end``.
        """
        parsed = Timeframe.parse(timeframe)
        merged, found = await chart.candles(self._views, _text("contract", contract_id), parsed, begin, end, most)
        growing = None if end is not None else await self.forming(contract_id, timeframe)
        if growing is not None and found and found[-1].start >= growing.start:
            growing = None
        return Candles(contract_id, str(parsed), merged, found, growing)

    async def forming(self, contract_id: str, timeframe: str) -> Candle | None:
        """Return the bar that is growing now, None where nothing tells of one."""
        found = await self._forming.find(contract_id, Timeframe.parse(timeframe))
        return None if found is None else chart.forming_candle(found)

    async def marks(
        self, contract_id: str, begin: datetime, end: datetime, timeframe: str | None = None, most: int = MOST_MARKS
    ) -> Marks:
        """Return what happened in ``[begin, end)``; ``timeframe`` keeps only signals of its bars."""
        parsed = None if timeframe is None else Timeframe.parse(timeframe)
        return await chart.marks(
            self._database, self._directions, _text("contract", contract_id), begin, end, parsed, most
        )

    async def now(self, account: str | None = None) -> Now:
        """Return how trading stands; ``account`` None: that of the settings."""
        return await self._now.read(_text_or_none("account", account))

    async def decisions(
        self,
        *,
        contract_id: str | None = None,
        coordinator: str | None = None,
        action: str | None = None,
        rule: str | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        most: int = 100,
    ) -> Sequence[DecisionShown]:
        """Return the newest decisions known in ``[begin, end)``, newest first."""
        chart.check_most(most)
        first, last = map(ns_or_none, bounded(begin, end))
        contract = _text_or_none("contract", contract_id)
        found = await self._coordination.decisions(
            contracts=None if contract is None else [contract],
            actions=None if action is None else [_text("action", action)],
            from_ns=first, to_ns=last, most=most, coordinator=_text_or_none("coordinator", coordinator),
            rule=_text_or_none("rule", rule),
        )  # fmt: skip
        return [why.decision_shown(each) for each in reversed(found)]

    async def log(
        self,
        *,
        contract_id: str | None = None,
        coordinator: str | None = None,
        rule: str | None = None,
        decided: bool | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        most: int = 100,
    ) -> Sequence[NoteShown]:
        """Return the newest lines of the decision log, newest first.

        ``rule``: which refused, or took part where all stood; ``decided``: only what led, or did not, to a decision.
        """
        chart.check_most(most)
        names = [
            _text_or_none(name, each)
            for name, each in (("contract", contract_id), ("coordinator", coordinator), ("rule", rule))
        ]
        rows = await self._views.log(names[0], names[1], names[2], *bounded(begin, end), most, decided=decided)
        return list(map(why.note_shown, rows))

    async def why(self, decision_id: str) -> Why | None:
        """Return what led to a decision; None when it is not known."""
        return await why.why(self._database, _text("decision", decision_id))

    async def why_not(self, signal_id: int) -> WhyNot | None:
        """Return what became of a signal; None when it is not known."""
        if not 0 < signal_id <= _LARGEST_ID:
            return None
        return await why.why_not(self._settings, self._database, signal_id)

    async def choices(self) -> Choices:
        """Return what the decision log can be filtered by."""
        return await why.choices(self._views)

    async def completeness(
        self, contract_id: str, begin: date | None = None, end: date | None = None, timeframe: str | None = None
    ) -> Sequence[SessionShown]:
        """Return what is known of each session by trade date, oldest first; the last 35 days unless said.

        They end now, or with the last bar of a contract that the settings do not name. ``timeframe``: the smallest that
        is kept, unless said.
        """
        known = {each.contract_id: each for each in await self.contracts()}
        if contract_id not in known or not known[contract_id].timeframes:
            return []
        chosen = Timeframe.parse(known[contract_id].timeframes[0] if timeframe is None else timeframe)
        if str(chosen) not in known[contract_id].timeframes:
            kept = ", ".join(known[contract_id].timeframes)
            raise InvalidTimeframe(f"timeframe {chosen} of {contract_id} is not kept; use one of {kept}")
        calendar, last = self._calendar_of(contract_id), known[contract_id].last
        if end is None and last is not None:
            now = last if not known[contract_id].configured else await self.market_now()
            end = (now + _A_DAY).date()  # a session belongs to the day on which it ends
        return await data.completeness(self._database, contract_id, calendar, chosen, begin, end)

    async def gaps(
        self,
        *,
        contract_id: str | None = None,
        only_open: bool = False,
        begin: datetime | None = None,
        end: datetime | None = None,
        most: int = 200,
    ) -> Sequence[GapShown]:
        """Return the gaps that touch ``[begin, end)``, newest first."""
        chart.check_most(most)
        contract = _text_or_none("contract", contract_id)
        rows = await self._views.gaps(contract, *bounded(begin, end), most, only_open=only_open)
        return list(map(data.gap_shown, rows))

    async def feed(self) -> Sequence[FeedShown]:
        """Return how far each contract was heard."""
        named = [each.id for each in self._settings.contracts]
        services = await HealthStore(self._database).services(ALIVE_S)
        return await data.feed(self._settings, self._views, services, named, self._calendar_of)

    async def system(self) -> System:
        """Return how services, stages and database are."""
        return await system.system(self._settings, self._database)

    async def market_now(self) -> datetime:
        """Return the market's time: in a replay the newest bar's, else our clock's."""
        newest = max((each.last for each in await self.contracts() if each.last is not None), default=None)
        return moment(market_now_ns(self._settings, newest))

    def calendar(self, contract_id: str) -> SessionCalendar:
        """Return the sessions of a contract.

        Raises:
            InvalidInput: they are not known.
        """
        return self._calendar_of(contract_id)


def _text(name: str, value: str) -> str:
    """Return text that a database can hold.

    Raises:
        InvalidInput: it cannot.
    """
    if "\0" in value or len(value) > _LONGEST_TEXT:
        raise InvalidInput(f"{name} {value[:50]!r} is no name; write it as it is shown")
    return value


def _text_or_none(name: str, value: str | None) -> str | None:
    return None if value is None else _text(name, value)
