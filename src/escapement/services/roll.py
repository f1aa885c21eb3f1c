"""Ingestion of products: the front contract of each, changed for the next one between two sessions.

1. ``Roll.resolve`` finds the fronts at the start.
2. ``Roll.watch`` asks the venue again in each break between sessions, and returns when a front has changed.
3. ``follow`` then ends ingestion in good order and begins it anew with the contracts of now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import structlog

from escapement.core.roll import (
    RollAhead,
    RollDecision,
    RollNow,
    RollRefused,
    RollWaits,
    boundary,
    decide,
    front_of,
    trade_date_of,
)
from escapement.errors import ConfigurationError, GatewayError, GatewayProtocolError, GatewayUnavailable
from escapement.model import NS_PER_SECOND, Contract, Session, SessionCalendar

log = structlog.get_logger(service="roll")


class ContractSearch(Protocol):
    """The venue's list of contracts."""

    async def search_contracts(self, text: str) -> Sequence[Contract]:
        """Return some contracts whose name or description contains ``text``."""
        ...

    async def available_contracts(self) -> Sequence[Contract]:
        """Return every contract that can be traded."""
        ...


class RunningIngestion(Protocol):
    """Ingestion as far as this module knows it."""

    async def run(self) -> None:
        """Ingest until the feed ends or ``stop`` is called."""
        ...

    async def settle(self, within_s: float) -> None:
        """Return when all is stored and no gap is open, or after ``within_s`` seconds."""
        ...

    def stop(self) -> None:
        """Ask for an orderly end."""
        ...


@dataclass(frozen=True, slots=True)
class RollParams:
    """How early and how often.

    An expected roll is told of from ``ahead_days`` before it on. The clock is looked at every ``look_s`` seconds; in a
    break the venue is asked every ``ask_each_s`` seconds of the market's time. At the start a gateway that does not
    answer is asked again after ``retry_s`` seconds. A contract that is left has ``settle_s`` seconds to fill its gaps.
    """

    ahead_days: int = 7
    look_s: float = 5.0
    ask_each_s: float = 300.0
    retry_s: float = 30.0
    settle_s: float = 300.0


class Roll:
    """The front contract of each product.

    Args:
        search: the venue's list of contracts.
        products: by product code, the sessions it trades in.
        now_ns: the time, nanoseconds UTC.
        params: how often and how early.
    """

    def __init__(
        self,
        search: ContractSearch,
        products: Mapping[str, SessionCalendar],
        now_ns: Callable[[], int],
        params: RollParams | None = None,
    ) -> None:
        self._search = search
        self._products = dict(products)
        self._now_ns = now_ns
        self._params = params or RollParams()
        self._asked: dict[str, tuple[Session, int]] = {}
        self._told: dict[str, tuple[date | None, str]] = {}
        self.held: dict[str, Contract] = {}

    async def resolve(self) -> None:
        """Find the front contract of each product that has none yet; waits for a gateway that does not answer.

        Raises:
            ConfigurationError: the venue lists no active contract of a product.
            GatewayRefused: the venue does not accept the credentials.
        """
        for product in self._products:
            while product not in self.held:
                try:
                    front = await self._front(product)
                except (GatewayUnavailable, GatewayProtocolError) as error:
                    log.warning("front_not_known", product=product, reason=str(error), next_try_s=self._params.retry_s)
                    await asyncio.sleep(self._params.retry_s)
                    continue
                if front is None:
                    raise ConfigurationError(
                        f"products: the venue lists no active contract of {product!r}; see 'escapement gateway "
                        f"contracts {product}' for what it calls it"
                    )
                self.held[product] = front
                log.info("front_contract", product=product, contract=front.contract_id, name=front.name)
                self._tell(product, decide(front, front, self._products[product], self._now_ns(), **self._ahead))

    async def watch(self) -> list[str]:
        """Return the products whose front has changed, once it may be taken; ``held`` has the new one already."""
        while True:
            rolled = [product for product in self._products if await self._has_rolled(product)]
            if rolled:
                return rolled
            await asyncio.sleep(self._params.look_s)

    async def _has_rolled(self, product: str) -> bool:
        session = boundary(self._products[product], self._now_ns())
        if session is None or not self._is_due(product, session):
            return False
        try:
            front = await self._front(product)
        except GatewayError as error:
            log.warning("front_not_known", product=product, reason=str(error), held=self.held[product].contract_id)
            return False
        if front is None:
            log.warning("front_not_listed", product=product, held=self.held[product].contract_id)
            return False
        # With the time after the answer, which may have taken until the session was open.
        decision = decide(self.held[product], front, self._products[product], self._now_ns(), **self._ahead)
        self._tell(product, decision)
        if isinstance(decision, RollNow):
            self.held[product] = decision.to
        return isinstance(decision, RollNow)

    def _is_due(self, product: str, session: Session) -> bool:
        now_ns = self._now_ns()
        asked, at_ns = self._asked.get(product, (None, 0))
        if asked == session and now_ns < at_ns + self._params.ask_each_s * NS_PER_SECOND:
            return False
        self._asked[product] = session, now_ns
        return True

    async def _front(self, product: str) -> Contract | None:
        day = trade_date_of(self._products[product], self._now_ns()) or date.max
        found = front_of(product, await self._search.search_contracts(product), day)
        # A search shows at most 20 contracts, and may not look where the exchange's symbol stands.
        return found or front_of(product, await self._search.available_contracts(), day)

    @property
    def settle_s(self) -> float:
        """How long the contract that is left has to fill its gaps, seconds."""
        return self._params.settle_s

    @property
    def _ahead(self) -> dict[str, int]:
        return {"ahead_days": self._params.ahead_days}

    def _tell(self, product: str, decision: RollDecision) -> None:
        """Log what was decided, once a session."""
        told = trade_date_of(self._products[product], self._now_ns()), type(decision).__name__
        if self._told.get(product) == told and not isinstance(decision, RollNow):
            return
        self._told[product] = told
        bound = log.bind(product=product, contract=self.held[product].contract_id)
        match decision:
            case RollAhead(on, days) if days >= 0:
                bound.warning("roll_ahead", on=on.isoformat(), days=days)
            case RollAhead(on, days):
                bound.warning("roll_overdue", on=on.isoformat(), days=-days)
            case RollWaits(to):
                bound.warning("roll_waits", to=to.contract_id)
            case RollRefused(to):
                bound.error("roll_refused", to=to.contract_id, reason="it expires before the contract held")
            case RollNow(to, session):
                bound.warning("roll", to=to.contract_id, from_trade_date=session.trade_date.isoformat())


async def follow(
    roll: Roll,
    ingest: Callable[[Mapping[str, Contract]], AbstractAsyncContextManager[RunningIngestion]],
    stopping: asyncio.Event,
) -> None:
    """Ingest the front contracts until ``stopping``, or until a feed ends by itself.

    Args:
        roll: which contracts.
        ingest: opens ingestion of these contracts, by product.
        stopping: set by whoever wants the end.

    Raises:
        ConfigurationError: the venue lists no active contract of a product.
        EscapementError: ingestion failed.
    """
    if not await _unless(stopping, roll.resolve()):
        return
    while not stopping.is_set():
        async with ingest(dict(roll.held)) as ingestion:
            running = asyncio.create_task(ingestion.run())
            watching = asyncio.create_task(roll.watch())
            waiting = asyncio.create_task(stopping.wait())
            try:
                await asyncio.wait({running, watching, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if not running.done() and not waiting.done():
                    settling = asyncio.create_task(ingestion.settle(roll.settle_s))
                    await asyncio.wait({running, waiting, settling}, return_when=asyncio.FIRST_COMPLETED)
                    settling.cancel()
                ended_by_itself = running.done()
            finally:
                ingestion.stop()
                waiting.cancel()
                if not watching.done():
                    watching.cancel()
                outcomes = await asyncio.gather(running, watching, waiting, return_exceptions=True)
        for outcome in outcomes[:2]:
            if isinstance(outcome, Exception):
                raise outcome
        if ended_by_itself:
            return


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do ``work``; return False when ``stopping`` came first."""
    task = asyncio.create_task(work)
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return False
    await task
    return True
