"""What there is to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query

from escapement.model import Action
from escapement.web.api.fields import NAME, Begin, ContractId, Day, End, IsoMoment, Most, Name, SomeTimeframe, Timeframe
from escapement.web.api.problems import MISSING, missing
from escapement.web.reading import MOST_CANDLES, MOST_MARKS, Reading
from escapement.web.reading.chart import Candle, Candles, KnownContract, Marks
from escapement.web.reading.data import FeedShown, GapShown, SessionShown
from escapement.web.reading.now import Now
from escapement.web.reading.system import System
from escapement.web.reading.why import Choices, DecisionShown, NoteShown, Why, WhyNot


def router(reading: Reading) -> APIRouter:
    """Return the routes that only read."""
    routes, views = APIRouter(tags=["looking"]), _Views(reading)
    for path, view, codes in (
        ("/contracts", views.contracts, None),
        ("/contracts/{contract_id}/candles", views.candles, MISSING),
        ("/contracts/{contract_id}/forming", views.forming, MISSING),
        ("/contracts/{contract_id}/marks", views.marks, MISSING),
        ("/contracts/{contract_id}/completeness", views.completeness, MISSING),
        ("/now", views.now, None),
        ("/decisions", views.decisions, None),
        ("/decisions/{decision_id}", views.why, MISSING),
        ("/signals/{signal_id}/why-not", views.why_not, MISSING),
        ("/log", views.log, None),
        ("/choices", views.choices, None),
        ("/gaps", views.gaps, None),
        ("/feed", views.feed, None),
        ("/system", views.system, None),
    ):
        routes.add_api_route(path, view, methods=["GET"], responses=codes)
    return routes


class _Views:
    """What each route answers; what is returned is what is documented."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def contracts(self) -> Sequence[KnownContract]:
        """List the contracts there is anything of."""
        return await self._reading.contracts()

    async def candles(
        self, contract_id: ContractId, timeframe: Timeframe = "1m", begin: Begin = None, end: End = None,
        most: Most = MOST_CANDLES,
    ) -> Candles:  # fmt: skip
        """Return candles, merged where there are more bars than asked for, with the one that is growing."""
        return await self._reading.candles(contract_id, timeframe, begin, end, most)

    async def forming(self, contract_id: ContractId, timeframe: Timeframe = "1m") -> Candle | None:
        """Return the bar that is growing now."""
        return await self._reading.forming(contract_id, timeframe)

    async def marks(
        self, contract_id: ContractId,
        begin: Annotated[IsoMoment, Query(description="From then on, with a time zone.")],
        end: Annotated[IsoMoment, Query(description="Before then, with a time zone.")],
        timeframe: SomeTimeframe = None, most: Most = MOST_MARKS,
    ) -> Marks:  # fmt: skip
        """Return signals, decisions, orders, fills and gaps of a stretch."""
        return await self._reading.marks(contract_id, begin, end, timeframe, most)

    async def completeness(
        self, contract_id: ContractId, begin: Day = None, end: Day = None,
        timeframe: SomeTimeframe = None,
    ) -> Sequence[SessionShown]:  # fmt: skip
        """Return what is known of each session, by trade date."""
        return await self._reading.completeness(contract_id, begin, end, timeframe)

    async def now(self, account: Name = None) -> Now:
        """Return how trading stands: positions, profit, limits, directions, decisions, working orders."""
        return await self._reading.now(account)

    async def decisions(
        self, contract: Name = None, coordinator: Name = None, action: Action | None = None,
        rule: Name = None, begin: Begin = None, end: End = None, most: Most = 100,
    ) -> Sequence[DecisionShown]:  # fmt: skip
        """List the newest decisions, newest first."""
        return await self._reading.decisions(
            contract_id=contract, coordinator=coordinator, action=None if action is None else str(action), rule=rule,
            begin=begin, end=end, most=most,
        )  # fmt: skip

    async def why(self, decision_id: Annotated[str, Path(max_length=200, pattern=NAME)]) -> Why:
        """Explain a decision."""
        found = await self._reading.why(decision_id)
        if found is None:
            raise missing("the decision")
        return found

    async def why_not(self, signal_id: int) -> WhyNot:
        """Explain what became of a signal."""
        found = await self._reading.why_not(signal_id)
        if found is None:
            raise missing("the signal")
        return found

    async def log(
        self, contract: Name = None, coordinator: Name = None, rule: Name = None,
        decided: Annotated[bool | None, Query(description="Whether it led to a decision.")] = None,
        begin: Begin = None, end: End = None, most: Most = 100,
    ) -> Sequence[NoteShown]:  # fmt: skip
        """List what became of the newest signals, newest first."""
        return await self._reading.log(
            contract_id=contract, coordinator=coordinator, rule=rule, decided=decided, begin=begin, end=end, most=most
        )

    async def choices(self) -> Choices:
        """Say what decisions can be told apart by."""
        return await self._reading.choices()

    async def gaps(
        self, contract: Name = None,
        open: Annotated[bool | None, Query(description="Only those that are not repaired.")] = None,  # noqa: A002
        begin: Begin = None, end: End = None, most: Most = 200,
    ) -> Sequence[GapShown]:  # fmt: skip
        """List the newest gaps, newest first."""
        return await self._reading.gaps(contract_id=contract, only_open=open is True, begin=begin, end=end, most=most)

    async def feed(self) -> Sequence[FeedShown]:
        """Say how far each contract was heard."""
        return await self._reading.feed()

    async def system(self) -> System:
        """Say how services, stages and database are, and what settings are in force; secrets are masked."""
        return await self._reading.system()
