"""What can be set: small frozen sections, each handed only to whom it concerns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from escapement.calendars import calendar_names
from escapement.errors import InvalidInput
from escapement.model import Timeframe
from escapement.projectx import Endpoints, endpoints
from escapement.settings.coordination import CoordinatorSettings
from escapement.settings.dashboard import DashboardSettings
from escapement.settings.execution import BacktestSettings, ExecutionSettings, RiskSettings, WatchdogSettings
from escapement.settings.fields import Count, Seconds, Section, TimeframeName, no_flag, once_each, split
from escapement.settings.operations import NotifySettings, OperationsSettings


def _contract(value: object) -> object:
    return {"id": value} if isinstance(value, str) else value


def _analyzer(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _product(value: object) -> object:
    return {"code": value} if isinstance(value, str) else value


def _product_code(value: str) -> str:
    if not value or "." in value:
        raise ValueError("is no product; write its code, such as MES, and contracts under contracts")
    return value


def _calendar(value: object) -> object:
    if value is not None and value not in calendar_names():
        raise ValueError(f"is unknown; use one of {', '.join(calendar_names())}")
    return value


def _firm(value: str) -> str:
    try:
        endpoints(value)
    except InvalidInput as error:
        raise ValueError(str(error).partition(" is unknown; ")[2]) from None
    return value


def _postgresql(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("is no PostgreSQL URL; write postgresql://user:password@host:port/database")
    return value


def _web_address(value: str) -> str:
    if not value.startswith(("http://", "https://")) or any(character.isspace() for character in value):
        raise ValueError("is no web address; write https://host or http://host:port")
    return value.rstrip("/")


def _user_data_dir() -> Path:
    return Path(platformdirs.user_data_dir("escapement"))


def _directory(value: object) -> object:
    if value is None:
        return _user_data_dir()
    return Path(value).expanduser() if isinstance(value, str) else value


def _own_directory(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) else value


WebAddress = Annotated[str, AfterValidator(_web_address)]


ServiceName = Literal["ingest", "analyze", "coordinate", "execute", "dashboard", "notify", "operations"]


class ContractSettings(Section):
    """A contract to work on, by the gateway's id; ``calendar`` is needed for products that are not well known."""

    id: str = Field(min_length=1)
    calendar: Annotated[str | None, BeforeValidator(_calendar)] = None


class ProductSettings(Section):
    """A product whose front contract to work on, by the venue's code or the exchange's (``EP``, ``ES``)."""

    code: Annotated[str, AfterValidator(_product_code)]
    calendar: Annotated[str | None, BeforeValidator(_calendar)] = None


class DatabaseSettings(Section):
    """Where data is kept; without ``url`` an embedded server runs in the data directory."""

    url: Annotated[SecretStr | None, AfterValidator(_postgresql)] = None
    connections: Annotated[Count, Field(le=100)] = 4
    statement_timeout_seconds: Seconds = 60.0


class TimescaleSettings(Section):
    """What a TimescaleDB server does for the bars; see docs/storage.md. ``escapement db init`` puts it in force."""

    chunk_days: Annotated[Count, Field(le=3_650)] = 30
    compress_after_days: Annotated[Count, Field(ge=7)] | None = None  # what is repaired is a few days old
    keep_days: Annotated[Count, Field(ge=30)] | None = None

    @model_validator(mode="after")
    def _compressed_before_dropped(self) -> Self:
        if self.keep_days and self.compress_after_days and self.keep_days <= self.compress_after_days:
            raise ValueError("keep_days is not above compress_after_days, which leaves nothing to compress; raise it")
        return self


class GatewaySettings(Section):
    """Which gateway, and who logs in. The three URLs, given together, take the place of ``firm``."""

    firm: Annotated[str, AfterValidator(_firm)] = "topstepx"
    api_url: WebAddress | None = None
    market_hub_url: WebAddress | None = None
    user_hub_url: WebAddress | None = None
    user_name: str | None = None
    api_key: SecretStr | None = None
    timeout_seconds: Seconds = 20.0

    @model_validator(mode="after")
    def _all_urls_or_none(self) -> Self:
        urls = self.api_url, self.market_hub_url, self.user_hub_url
        if any(urls) and not all(urls):
            raise ValueError("api_url, market_hub_url and user_hub_url belong together; give all three or none")
        return self

    def endpoints(self) -> Endpoints:
        """Return where the gateway is."""
        if self.api_url and self.market_hub_url and self.user_hub_url:
            return Endpoints(self.api_url, self.market_hub_url, self.user_hub_url)
        return endpoints(self.firm)


class IngestSettings(Section):
    """How trades become bars; see docs/ingest.md."""

    tolerance_ms: Annotated[int, BeforeValidator(no_flag), Field(ge=0, le=60_000)] = 100
    clock: Literal["system", "stream"] = "system"
    replay_speed: Annotated[float, BeforeValidator(no_flag), Field(ge=0)] = 0.0
    quiet_close_seconds: Seconds = 5.0
    buffer_bars: Count = 100_000
    state_interval_seconds: Seconds = 10.0
    shutdown_grace_seconds: Seconds = 60.0


def _redis(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("is no Redis URL; write redis://user:password@host:port/0")
    return value


class BusSettings(Section):
    """What tells other processes that tables changed: Redis, or without ``redis_url`` the database itself."""

    redis_url: Annotated[SecretStr | None, AfterValidator(_redis)] = None
    prefix: str = "escapement."


class LeasesSettings(Section):
    """For how long a process holds what it alone may write or trade; see docs/scaling.md."""

    seconds: Annotated[Seconds, Field(ge=0.5, le=600)] = 10.0


class RepairSettings(Section):
    """How gaps are filled from the venue's history; see docs/ingest.md."""

    settle_seconds: Seconds = 2.0
    confirm_seconds: Seconds = 60.0
    longest_delay_seconds: Seconds = 60.0
    patience_seconds: Seconds = 30.0


class CompareSettings(Section):
    """How what was received is compared with the venue's own bars; see docs/ingest.md."""

    every_seconds: Seconds = 60.0
    sample: Annotated[float, BeforeValidator(no_flag), Field(ge=0, le=1)] = 1.0
    price_tolerance: Annotated[float, BeforeValidator(no_flag), Field(ge=0)] = 0.0
    volume_tolerance: Annotated[float, BeforeValidator(no_flag), Field(ge=0)] = 0.0
    silence_seconds: Seconds = 15.0
    longest_silence_seconds: Seconds = 45.0


class AnalyzerSettings(Section):
    """An analyzer to run, by its name or file; without contracts or timeframes on all of the settings.

    ``params`` hold on every timeframe, ``timeframe_params`` (by timeframe) on theirs before them.
    """

    name: str = Field(min_length=1)
    contracts: Annotated[tuple[str, ...], BeforeValidator(split)] = ()
    timeframes: Annotated[tuple[TimeframeName, ...], BeforeValidator(split), AfterValidator(once_each)] = ()
    params: dict[str, Any] = Field(default_factory=dict)
    timeframe_params: dict[TimeframeName, dict[str, Any]] = Field(default_factory=dict)
    in_worker: bool = False

    @model_serializer(mode="wrap")
    def _short(self, whole: SerializerFunctionWrapHandler) -> object:
        """Write only what is not as it is by default, as it would be written by hand."""
        values: dict[str, object] = {name: value for name, value in whole(self).items() if value}
        return self.name if len(values) == 1 else values


class AnalyzersSettings(Section):
    """Which analyzers run on which bars, and how; see docs/analyze.md."""

    run: Annotated[tuple[Annotated[AnalyzerSettings, BeforeValidator(_analyzer)], ...], BeforeValidator(split)] = (
        AnalyzerSettings(name="trend_starts"),
    )
    worker_processes: Annotated[Count, Field(le=64)] = 1
    poll_seconds: Seconds = 5.0


class RunSettings(Section):
    """Which services ``escapement run`` keeps running, and how; see docs/run.md."""

    services: Annotated[tuple[ServiceName, ...], BeforeValidator(split), Field(min_length=1)] = (
        "ingest", "analyze", "coordinate", "execute", "dashboard", "notify", "operations",
    )  # fmt: skip
    first_delay_seconds: Seconds = 1.0
    longest_delay_seconds: Seconds = 60.0
    grace_seconds: Seconds = 90.0  # ingestion alone may wait a minute for its database


class RecorderSettings(Section):
    """Whether received frames are kept as files, where, and for how long; see docs/recorder.md."""

    enabled: bool = False
    directory: Annotated[Path | None, BeforeValidator(_own_directory)] = None
    keep_days: Count = 30
    max_bytes: Annotated[Count, Field(ge=1_048_576)] = 10_000_000_000


class LoggingSettings(Section):
    """What is logged, where to and how; ``auto`` is readable on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    stream: Literal["stderr", "stdout"] = "stderr"
    event_key: Annotated[str, Field(min_length=1)] = "event"


def _each_contract_once(contracts: tuple[ContractSettings, ...]) -> tuple[ContractSettings, ...]:
    ids = [contract.id for contract in contracts]
    for contract_id in ids:
        if ids.count(contract_id) > 1:
            raise ValueError(f"{contract_id} stands there twice; name each once")
    return contracts


def _each_product_once(products: tuple[ProductSettings, ...]) -> tuple[ProductSettings, ...]:
    codes = [product.code.upper() for product in products]
    for code in codes:
        if codes.count(code) > 1:
            raise ValueError(f"{code} stands there twice; name each once")
    return products


class Settings(Section):
    """All settings; functions elsewhere receive only the section they need."""

    data_dir: Annotated[Path, BeforeValidator(_directory)] = Field(default_factory=_user_data_dir)
    contracts: Annotated[
        tuple[Annotated[ContractSettings, BeforeValidator(_contract)], ...],
        BeforeValidator(split),
        AfterValidator(_each_contract_once),
    ] = ()
    products: Annotated[
        tuple[Annotated[ProductSettings, BeforeValidator(_product)], ...],
        BeforeValidator(split),
        AfterValidator(_each_product_once),
    ] = ()
    timeframes: Annotated[
        tuple[TimeframeName, ...], BeforeValidator(split), AfterValidator(once_each), Field(min_length=1)
    ] = tuple(Timeframe.parse(text) for text in ("1m", "5m", "15m", "1h", "4h", "1d"))
    database: DatabaseSettings = DatabaseSettings()
    timescale: TimescaleSettings = TimescaleSettings()
    gateway: GatewaySettings = GatewaySettings()
    ingest: IngestSettings = IngestSettings()
    repair: RepairSettings = RepairSettings()
    compare: CompareSettings = CompareSettings()
    analyzers: AnalyzersSettings = AnalyzersSettings()
    coordinator: CoordinatorSettings = CoordinatorSettings()
    execution: ExecutionSettings = ExecutionSettings()
    risk: RiskSettings = RiskSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    backtest: BacktestSettings = BacktestSettings()
    dashboard: DashboardSettings = DashboardSettings()
    run: RunSettings = RunSettings()
    operations: OperationsSettings = OperationsSettings()
    notify: NotifySettings = NotifySettings()
    leases: LeasesSettings = LeasesSettings()
    bus: BusSettings = BusSettings()
    recorder: RecorderSettings = RecorderSettings()
    logging: LoggingSettings = LoggingSettings()

    def services(self) -> list[ServiceName]:
        """Return the services that ``escapement run`` runs: of those named, what has something to do."""
        idle = {
            *([] if self.notify.channels else ["notify"]),
            *([] if self.operations.port is not None else ["operations"]),
        }
        return [name for name in self.run.services if name not in idle]


def setting_paths() -> Iterator[str]:
    """Name every setting by its path, such as ``logging.level``; lists count as one."""
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from (f"{name}.{inner}" for inner in section.model_fields)
        else:
            yield name
