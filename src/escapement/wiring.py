"""Binding the ports to the gateway and the database: the only place that knows all rooms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from escapement import rulebook
from escapement.analyzers import AnalyzerPlugin, find_analyzer
from escapement.calendars import calendar_for_contract, calendar_name_for_contract
from escapement.core.aggregation import with_root
from escapement.core.analysis import AnalyzerKey
from escapement.core.coordination import Rules
from escapement.errors import ConfigurationError
from escapement.model import NS_PER_SECOND, Bar, Contract, SessionCalendar, Timeframe
from escapement.projectx import GatewayClient, GatewayParams, HubParams, MarketFeed
from escapement.services.analyze import CHANNELS, Analysis
from escapement.services.comparison import CompareParams
from escapement.services.coordinate import CHANNELS as SIGNALS
from escapement.services.coordinate import CoordinateParams, Coordination
from escapement.services.freeze import FreezeParams
from escapement.services.growing import tell_of_growing_bars
from escapement.services.history import MOST_BARS
from escapement.services.ingest import Ingestion, IngestParams
from escapement.services.lane import AnalyzeParams, Planned
from escapement.services.plan import Run, check_can_be_made, names_of, twice
from escapement.services.repair import RepairParams
from escapement.services.roll import Roll, RollParams
from escapement.services.workers import Workers
from escapement.settings import AnalyzerSettings, ContractSettings, Settings
from escapement.storage import DBHandler, database_url, open_database
from escapement.storage.analysis import AnalysisStore, KeptSignal
from escapement.storage.bus import RedisBus
from escapement.storage.coordination import CoordinationStore
from escapement.storage.doorbell import Doorbell
from escapement.storage.history import DownloadStore
from escapement.storage.leases import Leases
from escapement.storage.recorder import Recorder, RecorderParams


@asynccontextmanager
async def database(settings: Settings, *, more_connections: int = 0) -> AsyncIterator[DBHandler]:
    """Open the database of the settings, or the embedded one; ``more_connections`` than the settings say.

    Raises:
        ConfigurationError: URL or data directory cannot be used.
        StorageError: the database does not answer or has another schema.
    """
    url = settings.database.url
    async with open_database(
        None if url is None else url.get_secret_value(),
        settings.data_dir,
        connections=settings.database.connections + more_connections,
        timeout_s=settings.database.statement_timeout_seconds,
    ) as handler:
        if settings.bus.redis_url is None:
            yield handler
            return
        async with RedisBus(settings.bus.redis_url, settings.bus.prefix) as handler.bus:
            yield handler


def leases(settings: Settings, database: DBHandler, service: str) -> Leases:
    """Return what this process holds for a service; nothing yet."""
    return Leases(database, service, settings.leases.seconds)


def shared_names(settings: Settings) -> list[str]:
    """Return what ingestion is shared by: products, and contracts of other products, as the settings name them.

    A contract of a product that is named too may be that product's front, and so is ingested by whoever ingests that.
    """
    codes = {each.code for each in settings.products}
    return [*(each.id for each in settings.contracts if not names_of(each.id) & codes), *sorted(codes)]


def only(settings: Settings, names: Collection[str]) -> Settings:
    """Return settings with those of ``shared_names`` alone."""
    chosen = set(names)
    return settings.model_copy(
        update={
            "contracts": tuple(each for each in settings.contracts if names_of(each.id) & chosen),
            "products": tuple(each for each in settings.products if each.code in chosen),
        }
    )


@asynccontextmanager
async def located(settings: Settings) -> AsyncIterator[Settings]:
    """Keep the embedded server up where the settings name no database; yield settings that name it.

    Raises:
        ConfigurationError: URL or data directory cannot be used.
        StorageError: the embedded server does not start.
    """
    url = settings.database.url
    async with database_url(None if url is None else url.get_secret_value(), settings.data_dir) as found:
        named = settings.database.model_copy(update={"url": SecretStr(found)})
        yield settings.model_copy(update={"database": named})


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


def check_contracts_are_named(settings: Settings) -> None:
    """Make sure that the settings alone say which contracts are meant.

    Raises:
        ConfigurationError: there are products, whose contracts change.
    """
    if settings.products:
        raise ConfigurationError(
            "--contract is missing: products stand for contracts that change; name those that are meant, such as "
            'those of escapement db query "SELECT DISTINCT contract_id FROM tracked_series"'
        )


def ingest_params(settings: Settings, *, state_name: str | None = "ingest") -> IngestParams:
    """Return how ingestion runs."""
    ingest, repair, compare = settings.ingest, settings.repair, settings.compare
    return IngestParams(
        clock=ingest.clock,
        replay_speed=ingest.replay_speed,
        quiet_close_s=ingest.quiet_close_seconds,
        buffer_bars=ingest.buffer_bars,
        state_name=state_name,
        state_interval_s=ingest.state_interval_seconds,
        shutdown_grace_s=ingest.shutdown_grace_seconds,
        tolerance_ns=ingest.tolerance_ms * NS_PER_SECOND // 1_000,
        repair=RepairParams(
            repair.settle_seconds, repair.confirm_seconds, repair.longest_delay_seconds, repair.patience_seconds
        ),
        compare=CompareParams(compare.every_seconds, compare.sample, compare.price_tolerance, compare.volume_tolerance),
        freeze=FreezeParams(compare.silence_seconds, compare.longest_silence_seconds),
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
    settings: Settings,
    store: DBHandler,
    *,
    state_name: str | None = "ingest",
    hub: HubParams | None = None,
    gateway: GatewayParams | None = None,
) -> AsyncIterator[Ingestion]:
    """Build ingestion of the settings' contracts from the gateway into ``store``; run it inside the context.

    ``gateway`` takes the place of what the settings say of it, for a gateway with other limits.

    Raises:
        ConfigurationError: credentials or contracts are missing.
        StorageError: the database does not take note of what is kept.
    """
    params = gateway if gateway is not None else gateway_params(settings)
    calendars = contract_calendars(settings.contracts)
    timeframes = with_root(settings.timeframes)
    await store.track(calendars, timeframes)
    async with recorder(settings) as frames, GatewayClient(params) as client:
        feed = MarketFeed(
            client, settings.gateway.endpoints().market_hub_url, list(calendars), params=hub, recorder=frames
        )
        history = GatewayHistory(client, calendars, MOST_BARS)
        made = Ingestion(feed, store, calendars, timeframes, history, ingest_params(settings, state_name=state_name))
        telling = asyncio.create_task(
            tell_of_growing_bars(made, list(calendars), timeframes, store.tell_forming), name="growing"
        )
        try:
            yield made
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)


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


def analyzer_runs(settings: Settings, workers: Workers | None = None) -> list[Run]:
    """Find the analyzers of the settings; ``workers`` serve those that shall run in a process of their own.

    Raises:
        ConfigurationError: an analyzer, contract, timeframe or parameter is not known; a line for each.
    """
    faults: list[str] = []
    runs = [
        Run(chosen.name, plugin, params, frozenset(chosen.contracts) or None, workers if chosen.in_worker else None)
        for place, chosen in enumerate(settings.analyzers.run)
        for plugin, params in _resolved(settings, chosen, f"analyzers.run.{place}", faults)
    ]
    if not faults:
        faults = [f"analyzers.run: {each}; name each once" for each in twice(runs)]
    if faults:
        raise ConfigurationError("\n".join(faults))
    for run in runs:
        check_can_be_made(run)
    return runs


def _resolved(
    settings: Settings, chosen: AnalyzerSettings, at: str, faults: list[str]
) -> Iterator[tuple[AnalyzerPlugin, dict[Timeframe, Any]]]:
    """Yield the analyzer with its parameters by timeframe; add to ``faults`` what is wrong with it."""
    known = ", ".join(map(str, settings.timeframes))
    timeframes = chosen.timeframes or settings.timeframes
    faults += [
        f"{at}.timeframes {each} is not built; add it to timeframes ({known}), or leave it out here"
        for each in chosen.timeframes
        if each not in settings.timeframes
    ]
    faults += [
        f"{at}.timeframe_params {each} is no timeframe it runs on; use some of {', '.join(map(str, timeframes))}"
        for each in chosen.timeframe_params
        if each not in timeframes
    ]
    contracts = [each.id for each in settings.contracts]
    if not settings.products:  # whose contracts are known only when they are traded
        faults += [
            f"{at}.contracts {each!r} is not among contracts ({', '.join(contracts) or 'none'}); add it there"
            for each in chosen.contracts
            if not any(each in names_of(contract_id) for contract_id in contracts)
        ]
    try:
        plugin = find_analyzer(chosen.name)
    except ConfigurationError as error:
        faults.append(f"{at}.name: {error}")
        return
    params: dict[Timeframe, Any] = {}
    for timeframe in timeframes:
        own = chosen.timeframe_params.get(timeframe)
        try:
            params[timeframe] = plugin.params({**chosen.params, **(own or {})})
        except ConfigurationError as error:
            fault = f"{at}.{'params' if own is None else f'timeframe_params.{timeframe}'}: {error}"
            if fault not in faults:
                faults.append(fault)
    yield plugin, params


@asynccontextmanager
async def analysis(
    settings: Settings,
    database: DBHandler,
    params: AnalyzeParams | None = None,
    *,
    contracts: Collection[str] | None = None,
) -> AsyncIterator[Analysis]:
    """Build the analysis of the settings' contracts, and with products of every contract whose bars are kept.

    ``contracts``: only these of them.

    Raises:
        ConfigurationError: contracts or analyzers of the settings cannot be used.
    """
    if not settings.products:
        contract_calendars(settings.contracts)
    async with Workers(settings.analyzers.worker_processes) as workers:
        runs = analyzer_runs(settings, workers)
        store = AnalysisStore(database)
        yield Analysis(
            store, Doorbell(database, CHANNELS), lambda: _instances(settings, runs, store, contracts),
            params or AnalyzeParams(poll_s=settings.analyzers.poll_seconds),
        )  # fmt: skip


async def _instances(
    settings: Settings, runs: Sequence[Run], store: AnalysisStore, contracts: Collection[str] | None
) -> list[Planned]:
    """Return what shall run on the settings' contracts, and with products on every series that is kept."""
    series = dict.fromkeys(await _series(settings, store))
    return [
        each for run in runs for each in run.on(key for key in series if contracts is None or key[0] in contracts)
    ]  # fmt: skip


async def _series(settings: Settings, store: AnalysisStore) -> list[tuple[str, Timeframe]]:
    configured = [(each.id, timeframe) for each in settings.contracts for timeframe in settings.timeframes]
    return configured + (await store.tracked() if settings.products else [])


async def kept_contracts(settings: Settings, database: DBHandler) -> list[str]:
    """Return the settings' contracts, and with products every contract whose bars are kept.

    Raises:
        StorageError: the database does not answer or refuses.
    """
    return list(dict.fromkeys(each for each, _ in await _series(settings, AnalysisStore(database))))


def coordination_rules(settings: Settings, runs: Sequence[Run]) -> Rules:
    """Return what the coordinator goes by, given the analyzers that run.

    Raises:
        ConfigurationError: a rule listens to what does not run, or can never be met; a line for each.
    """
    return rulebook.rules(
        settings.coordinator, [rulebook.Running(run.plugin.name, frozenset(run.params)) for run in runs]
    )


def coordination(
    settings: Settings,
    database: DBHandler,
    params: CoordinateParams | None = None,
    *,
    contracts: Collection[str] | None = None,
) -> Coordination:
    """Build the coordinator of the settings' contracts, and with products of every contract whose bars are kept.

    ``contracts``: only these of them.

    Raises:
        ConfigurationError: contracts, analyzers or rules of the settings cannot be used.
    """
    calendars = {each.code: each.calendar for each in settings.products}
    calendars |= {each.id: each.calendar for each in settings.contracts}
    if not settings.products:
        contract_calendars(settings.contracts)
    runs, analyses = analyzer_runs(settings), AnalysisStore(database)

    async def plan() -> list[AnalyzerKey]:
        return [each.key for each in await _instances(settings, runs, analyses, contracts)]

    def calendar_of(contract_id: str) -> SessionCalendar:
        names = contract_id, *names_of(contract_id)
        return calendar_for_contract(contract_id, next(filter(None, map(calendars.get, names)), None))

    chosen = settings.coordinator
    return Coordination(
        CoordinationStore(database, rulebook.directions(chosen)), Doorbell(database, SIGNALS), plan,
        coordination_rules(settings, runs),
        calendar_of,
        params or CoordinateParams(chosen.poll_seconds, chosen.patience_seconds),
    )  # fmt: skip


async def unheard(settings: Settings, database: DBHandler, signal: KeptSignal) -> str:
    """Say why no rule was asked about a signal.

    Raises:
        ConfigurationError: contracts, analyzers or rules of the settings cannot be used.
        StorageError: the database does not answer.
    """
    if signal.superseded_ns is not None:
        return "bars were revised before it could be weighed, and it no longer held"
    service = coordination(settings, database)
    keys = [key for key in await service.plan() if key.contract_id == signal.key.contract_id]
    if signal.key not in keys:
        return "the coordinator does not listen to it: the settings do not name its contract or analyzer as they are"
    await service.store.open(settings.coordinator.name, signal.key.contract_id)
    given = await service.store.read(
        settings.coordinator.name, signal.key.contract_id, keys, most=1,
        patience_s=settings.coordinator.patience_seconds,
    )  # fmt: skip
    return given.waits or "it has not been weighed yet; is escapement coordinate running?"


def download_store(database: DBHandler) -> DownloadStore:
    """Return the database as a download of history sees it."""
    return DownloadStore(database)
