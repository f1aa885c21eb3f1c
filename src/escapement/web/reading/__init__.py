"""What is stored, as pages and API show it: plain frozen values, times as aware datetimes UTC.

``Reading`` is all there is to ask; what is asked for by many browsers at once is read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.web.reading.chart import Candles, KnownContract, Marks
from escapement.web.reading.data import FeedShown, GapShown, SessionShown
from escapement.web.reading.now import Now
from escapement.web.reading.system import System
from escapement.web.reading.why import Choices, DecisionShown, NoteShown, Why, WhyNot

MOST_CANDLES = 2_000
MOST_MARKS = 500


class Reading:
    """The database as the dashboard sees it; every method raises StorageError when it does not answer.

    What cannot be asked for (an unknown timeframe, an end before its begin) is refused with InvalidInput.
    """

    def __init__(self, settings: Settings, database: DBHandler) -> None:
        self._settings = settings
        self._database = database

    async def contracts(self) -> Sequence[KnownContract]:
        """Return the contracts there is anything of, those of the settings first."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def marks(
        self, contract_id: str, begin: datetime, end: datetime, timeframe: str | None = None, most: int = MOST_MARKS
    ) -> Marks:
        """Return what happened in ``[begin, end)``; ``timeframe`` keeps only signals of its bars."""
        raise NotImplementedError

    async def now(self, account: str | None = None) -> Now:
        """Return how trading stands; ``account`` None: that of the settings."""
        raise NotImplementedError

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
        raise NotImplementedError

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

        ``rule``: which refused, or took part where all stood; ``decided``: only what led, or did not lead, to a decision.
        """
        raise NotImplementedError

    async def why(self, decision_id: str) -> Why | None:
        """Return what led to a decision; None when it is not known."""
        raise NotImplementedError

    async def why_not(self, signal_id: int) -> WhyNot | None:
        """Return what became of a signal; None when it is not known."""
        raise NotImplementedError

    async def choices(self) -> Choices:
        """Return what the decision log can be filtered by."""
        raise NotImplementedError

    async def completeness(
        self, contract_id: str, begin: date | None = None, end: date | None = None, timeframe: str | None = None
    ) -> Sequence[SessionShown]:
        """Return what is known of each session by trade date, oldest first; the last 35 days unless said.

        ``timeframe``: the smallest that is kept, unless said.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    async def feed(self) -> Sequence[FeedShown]:
        """Return how far each contract was heard."""
        raise NotImplementedError

    async def system(self) -> System:
        """Return how services, stages and database are."""
        raise NotImplementedError
