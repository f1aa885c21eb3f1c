"""The bars that are growing: as ingestion tells of them, else as it last saved them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog

from escapement.core.aggregation import OHLCBarAggregator
from escapement.errors import InvalidInput
from escapement.model import FormingBar, SessionCalendar, Timeframe
from escapement.storage.database import FORMING
from escapement.storage.doorbell import Doorbell
from escapement.storage.viewing import ViewStore

log = structlog.get_logger(service="dashboard")

_FRESH_S = 15.0
_STATE = "ingest"


class FormingBars:
    """Hears of forming bars while ``listen`` runs.

    Args:
        views: where the saved ones are.
        calendar_of: the sessions of a contract; raises InvalidInput where they are not known.
    """

    def __init__(self, views: ViewStore, calendar_of: Callable[[str], SessionCalendar]) -> None:
        self._views = views
        self._calendar_of = calendar_of
        self._heard: dict[str, tuple[float, dict[Timeframe, FormingBar]]] = {}

    async def listen(self, doorbell: Doorbell) -> None:
        """Take note of what is told on the channel ``FORMING`` until cancelled."""
        await doorbell.listen(self.hear)

    def hear(self, channel: str, payload: str) -> None:
        """Take note of what was told; what cannot be read is left out."""
        if channel != FORMING:
            return
        try:
            bars = _bars_of(orjson.loads(payload))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("forming_unreadable", reason=str(error))
            return
        for bar in bars:
            self._heard.setdefault(bar.contract_id, (0.0, {}))[1][bar.timeframe] = bar
            self._heard[bar.contract_id] = time.monotonic(), self._heard[bar.contract_id][1]

    async def find(self, contract_id: str, timeframe: Timeframe) -> FormingBar | None:
        """Return the bar that is growing, None where nothing tells of one.

        Raises:
            StorageError: the database does not answer.
        """
        at_s, bars = self._heard.get(contract_id, (0.0, {}))
        if bars and time.monotonic() - at_s < _FRESH_S:
            return bars.get(timeframe)
        row = await self._views.state(f"{_STATE} {contract_id}")
        return None if row is None else self._saved(orjson.loads(row["state"]), contract_id, timeframe)

    def _saved(self, state: Mapping[str, Any], contract_id: str, timeframe: Timeframe) -> FormingBar | None:
        saved = state.get("aggregator")
        try:
            names = [Timeframe.parse(each) for each in saved["timeframes"]]  # type: ignore[index] # a spoilt one is told
            if timeframe not in names or contract_id not in saved["contracts"]:  # type: ignore[index]
                return None
            aggregator = OHLCBarAggregator({contract_id: self._calendar_of(contract_id)}, names)
            aggregator.restore(saved)  # type: ignore[arg-type]
        except (InvalidInput, KeyError, TypeError):
            return None
        return aggregator.forming(contract_id, timeframe)


def _bars_of(told: Mapping[str, Any]) -> list[FormingBar]:
    contract_id, as_of_ns = str(told["contract_id"]), int(told["as_of_ns"])
    return [
        FormingBar(
            contract_id, Timeframe.parse(name), int(start), int(end), float(opened), float(high), float(low),
            float(close), int(volume), bool(whole), as_of_ns,
        )
        for name, (start, end, opened, high, low, close, volume, whole) in told["bars"].items()
    ]  # fmt: skip
