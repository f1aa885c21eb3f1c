"""Binds health, metrics and notifications to the database, the disk and the channels of the settings."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

from escapement import __version__, wiring
from escapement.charts import write_chart
from escapement.errors import ConfigurationError, EscapementError
from escapement.model import Bar, Fill, Signal
from escapement.moments import ns_from_datetime
from escapement.ports import Event
from escapement.services.lookout import Lookout, LookoutParams
from escapement.services.metrics import Metrics
from escapement.services.notify import Notifier, NotifyParams
from escapement.services.postman import Postman
from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.analysis import AnalysisStore, KeptSignal
from escapement.storage.execution import ExecutionStore
from escapement.storage.health import ALIVE_S
from escapement.storage.notifications import NotificationStore
from escapement.storage.operations import OperationsStore

_CLOSE_S = 3.0
_LEASE_MARGIN_S = 10.0
_MOST_BARS_DRAWN = 400


@asynccontextmanager
async def lookout(settings: Settings, services: Sequence[str] | None) -> AsyncIterator[Lookout]:
    """Look after the program, of which ``services`` have to run; the database need not answer.

    ``services`` None: all that were started anywhere, and not stopped in good order.

    The settings name the database's URL, also that of an embedded one that somebody keeps running.

    Raises:
        ConfigurationError: there is no URL.
    """
    url = settings.database.url
    if url is None:
        raise ConfigurationError("database.url is missing; the embedded server has to be started first")

    async def opened() -> OperationsStore:
        return OperationsStore(await DBHandler.open(url.get_secret_value(), connections=1))

    directories = [settings.data_dir, settings.data_dir / "postgres"]
    if settings.recorder.enabled:
        directories.append(wiring.recordings_directory(settings))
    params = LookoutParams(
        services, directories, ALIVE_S, settings.operations.stale_seconds, settings.operations.least_free_bytes
    )
    made = Lookout(opened, Metrics(__version__, ALIVE_S), params)
    try:
        yield made
    finally:
        with suppress(TimeoutError):  # a database that hangs
            async with asyncio.timeout(_CLOSE_S):
                await made.aclose()


def postmen(settings: Settings) -> list[Postman]:
    """Return who carries messages to each channel.

    Raises:
        ConfigurationError: a channel's URL cannot be read; a line for each.
    """
    found, faults = [], []
    for name, url in settings.notify.channels.items():
        try:
            found.append(Postman(name, url, settings.notify.timeout_seconds))
        except ConfigurationError as error:
            faults.append(str(error))
    if faults:
        raise ConfigurationError("\n".join(faults))
    return found


def notifier(settings: Settings, database: DBHandler) -> Notifier:
    """Build what tells people on the settings' channels.

    Raises:
        ConfigurationError: a channel's URL cannot be read.
    """
    chosen = settings.notify

    @asynccontextmanager
    async def picture(event: Event) -> AsyncIterator[Path | str | None]:
        if event.kind != "summary":
            yield None
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{event.details['trade_date']}.png"
            yield await _draw_day(database, event, path) or path

    return Notifier(
        NotificationStore(database, chosen.disconnect_seconds, ALIVE_S), postmen(settings), chosen.channels_of, picture,
        NotifyParams(
            chosen.poll_seconds, chosen.messages_per_minute, chosen.timeout_seconds + _LEASE_MARGIN_S,
            chosen.give_up_seconds,
        ),
    )  # fmt: skip


async def _draw_day(database: DBHandler, event: Event, path: Path) -> str:
    """Draw the bars of the day's busiest contract with its signals and fills; return why it could not be done."""
    try:
        begins_ns, ends_ns = (
            ns_from_datetime(datetime.fromisoformat(event.details[name])) for name in ("opens_at", "closes_at")
        )
        execution, analysis = ExecutionStore(database), AnalysisStore(database)
        accounts = [each["account"] for each in event.details["accounts"]]
        fills = [each for name in accounts for each in await execution.fills(name, begins_ns, ends_ns)]
        bars = await _bars_of_day(database, analysis, fills, begins_ns, ends_ns)
        if not bars:
            return "there are no bars of that day."
        contract, timeframe = bars[0].contract_id, bars[0].timeframe
        kept = await analysis.signals(
            contracts=[contract], timeframes=[timeframe], from_ns=begins_ns, to_ns=ends_ns + 1
        )
        title = f"{contract} {timeframe}, {event.details['trade_date']}"
        own = [each for each in fills if each.contract_id == contract and not each.voided]
        await asyncio.to_thread(write_chart, path, bars, [_signal(each) for each in kept], title, own)
    except EscapementError as error:
        return f"{error}."
    return ""


async def _bars_of_day(
    database: DBHandler, analysis: AnalysisStore, fills: Sequence[Fill], begins_ns: int, ends_ns: int
) -> list[Bar]:
    """Return the bars of the contract that was traded most, on the smallest timeframe that a picture can hold."""
    tracked = sorted(await analysis.tracked(), key=lambda series: (series[0], series[1].length_ns))
    traded = [fill.contract_id for fill in fills]
    for contract, timeframe in sorted(tracked, key=lambda series: -traded.count(series[0])):
        if timeframe.is_intraday and (ends_ns - begins_ns) // timeframe.length_ns <= _MOST_BARS_DRAWN:
            bars = await database.bars_between(contract, timeframe, begins_ns, ends_ns)
            if bars:
                return bars
    return []


def _signal(kept: KeptSignal) -> Signal:
    return Signal(
        kept.key.analyzer, kept.key.contract_id, kept.key.timeframe, kept.signal_type, kept.bar_start_ns,
        kept.trigger_start_ns, kept.known_at_ns, kept.price, kept.rule,
    )  # fmt: skip
