"""Binding the ports to the gateway and the database: the only place that knows all rooms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from escapement.calendars import calendar_for_contract, calendar_name_for_contract
from escapement.core.aggregation import OHLCBarAggregator
from escapement.errors import ConfigurationError
from escapement.model import Bar, Contract, SessionCalendar, Timeframe
from escapement.projectx import GatewayClient, GatewayParams, HubParams, MarketFeed
from escapement.services.ingest import Ingestion, IngestParams
from escapement.services.roll import Roll, RollParams
from escapement.settings import ContractSettings, IngestSettings, Settings
from escapement.storage import DBHandler, open_database
from escapement.storage.history import DownloadStore
from escapement.storage.recorder import Recorder, RecorderParams


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[DBHandler]:
    """Open the database of the settings, or the embedded one.

    Raises:
        ConfigurationError: URL or data directory cannot be used.
        StorageError: the database does not answer or has another schema.
    """
    url = settings.database.url
    async with open_database(
        None if url is None else url.get_secret_value(),
        settings.data_dir,
        connections=settings.database.connections,
        timeout_s=settings.database.statement_timeout_seconds,
    ) as handler:
        yield handler


def gateway_params(settings: Settings) -> GatewayParams:
    """Return where the gateway is and who logs in.

    Raises:
        ConfigurationError: user name or API key is missing; a line for each.
    """
    gateway = settings.gateway
    missing = []
    if gateway.user_name is None:
        missing.append("gateway.user_name is missing; set PROJECTX_USERNAME in the environment or .env")
    if gateway.api_key is None:
        missing.append("gateway.api_key is missing; set PROJECTX_API_KEY in the environment or .env")
    if gateway.user_name is None or gateway.api_key is None:
        raise ConfigurationError("\n".join(missing))
    return GatewayParams(gateway.endpoints().api_url, gateway.user_name, gateway.api_key, gateway.timeout_seconds)


def contract_calendars(contracts: Sequence[ContractSettings]) -> dict[str, SessionCalendar]:
    """Return the calendar of each contract.

    Raises:
        ConfigurationError: no contracts, or one of an unknown product without a calendar.
    """
    if not contracts:
        raise ConfigurationError(
            "contracts is empty; name at least one in config/settings.yaml or with ESCAPEMENT_CONTRACTS, such as "
            "CON.F.US.MES.Z26"
        )
    return {contract.id: calendar_for_contract(contract.id, contract.calendar) for contract in contracts}


def ingest_params(ingest: IngestSettings, *, state_name: str | None = "ingest") -> IngestParams:
    """Return how ingestion runs."""
    return IngestParams(
        clock=ingest.clock,
        quiet_close_s=ingest.quiet_close_seconds,
        buffer_bars=ingest.buffer_bars,
        state_name=state_name,
        state_interval_s=ingest.state_interval_seconds,
        shutdown_grace_s=ingest.shutdown_grace_seconds,
    )


def recordings_directory(settings: Settings) -> Path:
    """Return where recordings are kept."""
    return settings.recorder.directory or settings.data_dir / "recordings"


@asynccontextmanager
async def recorder(settings: Settings) -> AsyncIterator[Recorder | None]:
    """Run the recorder of received frames, or none when it is not enabled."""
    if not settings.recorder.enabled:
        yield None
        return
    chosen = settings.recorder
    frames = Recorder(RecorderParams(recordings_directory(settings), chosen.keep_days, chosen.max_bytes))
    if settings.gateway.api_key is not None:
        frames.conceal(settings.gateway.api_key)
    frames.start()
    try:
        yield frames
    finally:
        await asyncio.to_thread(frames.close)


@asynccontextmanager
async def ingestion(
    settings: Settings, store: DBHandler, *, state_name: str | None = "ingest", hub: HubParams | None = None
) -> AsyncIterator[Ingestion]:
    """Build ingestion of the settings' contracts from the gateway into ``store``; run it inside the context.

    Raises:
        ConfigurationError: credentials or contracts are missing.
    """
    params = gateway_params(settings)
    calendars = contract_calendars(settings.contracts)
    aggregator = OHLCBarAggregator(
        calendars, settings.timeframes, tolerance_ns=settings.ingest.tolerance_ms * 1_000_000
    )
    async with recorder(settings) as frames, GatewayClient(params) as client:
        feed = MarketFeed(
            client, settings.gateway.endpoints().market_hub_url, list(calendars), params=hub, recorder=frames
        )
        yield Ingestion(feed, store, aggregator, list(calendars), ingest_params(settings.ingest, state_name=state_name))


@asynccontextmanager
async def roll(settings: Settings, now_ns: Callable[[], int], params: RollParams | None = None) -> AsyncIterator[Roll]:
    """Open the settings' products at the gateway; ``now_ns`` tells the market's time, nanoseconds UTC.

    Raises:
        ConfigurationError: credentials are missing, or a product without a calendar is not known.
    """
    calendars = {product.code: calendar_for_contract(product.code, product.calendar) for product in settings.products}
    async with GatewayClient(gateway_params(settings)) as client:
        yield Roll(client, calendars, now_ns, params)


def with_fronts(settings: Settings, fronts: Mapping[str, Contract]) -> Settings:
    """Return settings whose contracts are those named and the fronts of the products, by product code."""
    contracts = {contract.id: contract for contract in settings.contracts}
    for product in settings.products:
        front_id = fronts[product.code].contract_id
        name = product.calendar or calendar_name_for_contract(product.code)
        contracts.setdefault(front_id, ContractSettings(id=front_id, calendar=name))
    return settings.model_copy(update={"contracts": tuple(contracts.values())})


class GatewayHistory:
    """The gateway's bars, with the calendars that tell when each ends; ``page`` is the most bars in one answer."""

    def __init__(self, client: GatewayClient, calendars: Mapping[str, SessionCalendar], page: int) -> None:
        self._client = client
        self._calendars = calendars
        self._page = page

    async def bars(self, contract_id: str, timeframe: Timeframe, from_ns: int, to_ns: int) -> Sequence[Bar]:
        """Return the complete bars labelled in ``[from_ns, to_ns)``, nanoseconds UTC, oldest first."""
        calendar = self._calendars[contract_id]
        return await self._client.bars(contract_id, timeframe, from_ns, to_ns, calendar, page=self._page)

    async def contract(self, contract_id: str) -> Contract:
        """Return a contract by its id, also an expired one."""
        return await self._client.contract(contract_id)


@asynccontextmanager
async def venue_history(
    settings: Settings, calendars: Mapping[str, SessionCalendar], page: int
) -> AsyncIterator[GatewayHistory]:
    """Open the gateway's history of these contracts.

    Raises:
        ConfigurationError: credentials are missing.
    """
    async with GatewayClient(gateway_params(settings)) as client:
        yield GatewayHistory(client, calendars, page)


def download_store(database: DBHandler) -> DownloadStore:
    """Return the database as a download of history sees it."""
    return DownloadStore(database)
