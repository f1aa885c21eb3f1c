"""Every setting, typed, from a YAML file, ``.env`` and the environment.

Later sources win: defaults, then the YAML file, then ``.env``, then the environment. A variable is named
``ESCAPEMENT_SECTION__NAME`` (``ESCAPEMENT_LOGGING__LEVEL``); the few in ``VARIABLES`` have names of their own. Unknown
keys and variables, wrong types and impossible values are refused, all at once, a line each.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
import yaml
from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from escapement.calendars import calendar_names
from escapement.errors import ConfigurationError, InvalidInput, InvalidTimeframe
from escapement.model import Timeframe
from escapement.projectx import Endpoints, endpoints

DEFAULT_FILE = Path("config/settings.yaml")
VARIABLES = {
    "DATABASE_URL": "database.url",
    "PROJECTX_USERNAME": "gateway.user_name",
    "USERNAME_FOR_TOKEN_GENERATION": "gateway.user_name",
    "PROJECTX_API_KEY": "gateway.api_key",
    "PROJECTX_API_TOKEN": "gateway.api_key",
}
PREFIX = "ESCAPEMENT_"
# Variables of ours that are not settings: where the settings are, and what tests use.
_NOT_SETTINGS = ("ESCAPEMENT_SETTINGS", "ESCAPEMENT_SHARED", "ESCAPEMENT_TEST_", "ESCAPEMENT_TIMESCALE_")


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _timeframe(value: object) -> object:
    try:
        return Timeframe.parse(value) if isinstance(value, str) else value
    except InvalidTimeframe as error:
        raise ValueError(str(error)) from None


def _contract(value: object) -> object:
    return {"id": value} if isinstance(value, str) else value


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


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ContractSettings(_Section):
    """A contract to work on, by the gateway's id; ``calendar`` is needed for products that are not well known."""

    id: str = Field(min_length=1)
    calendar: Annotated[str | None, BeforeValidator(_calendar)] = None


class DatabaseSettings(_Section):
    """Where data is kept; without ``url`` an embedded server runs in the data directory."""

    url: Annotated[SecretStr | None, AfterValidator(_postgresql)] = None
    connections: int = Field(default=4, ge=1, le=100)
    statement_timeout_seconds: float = Field(default=60.0, gt=0)


class GatewaySettings(_Section):
    """Which gateway, and who logs in. The three URLs, given together, take the place of ``firm``."""

    firm: Annotated[str, AfterValidator(_firm)] = "topstepx"
    api_url: str | None = None
    market_hub_url: str | None = None
    user_hub_url: str | None = None
    user_name: str | None = None
    api_key: SecretStr | None = None
    timeout_seconds: float = Field(default=20.0, gt=0)

    @model_validator(mode="after")
    def _all_urls_or_none(self) -> Self:
        urls = self.api_url, self.market_hub_url, self.user_hub_url
        if any(urls) and not all(urls):
            raise ValueError("api_url, market_hub_url and user_hub_url belong together; give all three or none")
        return self

    def endpoints(self) -> Endpoints:
        """Return where the gateway is."""
        if self.api_url and self.market_hub_url and self.user_hub_url:
            return Endpoints(self.api_url.rstrip("/"), self.market_hub_url, self.user_hub_url)
        return endpoints(self.firm)


class IngestSettings(_Section):
    """How trades become bars; see docs/ingest.md."""

    tolerance_ms: int = Field(default=100, ge=0, le=60_000)
    clock: Literal["system", "stream"] = "system"
    quiet_close_seconds: float = Field(default=2.0, gt=0)
    buffer_bars: int = Field(default=100_000, ge=1)
    state_interval_seconds: float = Field(default=10.0, gt=0)
    shutdown_grace_seconds: float = Field(default=60.0, gt=0)


class LoggingSettings(_Section):
    """What is logged to standard error and how; ``auto`` is readable on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


_Timeframes = Annotated[
    list[Annotated[Timeframe, BeforeValidator(_timeframe), PlainSerializer(str, return_type=str)]],
    BeforeValidator(_split),
    Field(min_length=1),
]


class Settings(BaseSettings):
    """All settings; functions elsewhere receive only the section they need."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("escapement")))
    contracts: Annotated[list[Annotated[ContractSettings, BeforeValidator(_contract)]], BeforeValidator(_split)] = []
    timeframes: Annotated[_Timeframes, Field(validate_default=True)] = [
        Timeframe.parse(text) for text in ("1m", "5m", "15m", "1h", "4h", "1d")
    ]
    database: DatabaseSettings = DatabaseSettings()
    gateway: GatewaySettings = GatewaySettings()
    ingest: IngestSettings = IngestSettings()
    logging: LoggingSettings = LoggingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what ``load_settings`` has read, in its order; the library's own readers do not refuse unknown names."""
        del env_settings, dotenv_settings, file_secret_settings
        layers = init_settings()["layers"] if "layers" in init_settings() else [init_settings()]
        return tuple(InitSettingsSource(settings_cls, init_kwargs=layer) for layer in layers)


def load_settings(file: Path | None = None, *, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings in force.

    Args:
        file: the YAML file; else the one ``ESCAPEMENT_SETTINGS`` names; else ``config/settings.yaml`` if it is there.
        environ: in place of the process's environment.
        overrides: sections or values that win over everything, as nested dictionaries.

    Raises:
        ConfigurationError: something cannot be used; the message has a line for each fault.
    """
    variables = dict(os.environ if environ is None else environ)
    from_dotenv = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    named = file or (Path(variables["ESCAPEMENT_SETTINGS"]) if variables.get("ESCAPEMENT_SETTINGS") else None)
    chosen = named or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    faults: list[str] = []
    origins: dict[str, str] = {}
    layers = [
        overrides,
        _from_variables(variables, "environment", origins, faults),
        _from_variables(from_dotenv, ".env", origins, faults),
        {} if chosen is None else _from_yaml(chosen, faults),
    ]
    try:
        settings = Settings(layers=layers)  # type: ignore[call-arg] # taken apart in settings_customise_sources
    except ValidationError as error:
        faults += _describe(error, origins, str(chosen) if chosen else "settings")
    else:
        faults += [f"{origins.get('timeframes', chosen or 'settings')}: {text}" for text in _doubles(settings)]
    if faults:
        raise ConfigurationError("\n".join(faults))
    return settings


def _doubles(settings: Settings) -> Iterator[str]:
    for timeframe in sorted(set(settings.timeframes)):
        if settings.timeframes.count(timeframe) > 1:
            yield f"timeframes names {timeframe} twice; name each once"
    ids = [contract.id for contract in settings.contracts]
    for contract_id in dict.fromkeys(ids):
        if ids.count(contract_id) > 1:
            yield f"contracts names {contract_id} twice; name each once"


def _from_variables(
    variables: Mapping[str, str], source: str, origins: dict[str, str], faults: list[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    known = {PREFIX + path.upper().replace(".", "__"): path for path in _paths()}
    for name, value in variables.items():
        path = VARIABLES.get(name) or known.get(name)
        if path is not None:
            if value == "":
                continue  # an empty line of .env.example that was not filled in
            origins.setdefault(path, f"{source} variable {name}")
            *sections, last = path.split(".")
            place = found
            for section in sections:
                place = place.setdefault(section, {})
            place.setdefault(last, value)
        elif name.startswith(PREFIX) and not name.startswith(_NOT_SETTINGS):
            faults.append(f"{source} variable {name} is no setting{_suggestion(name, list(known))}")
    return found


def _paths() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from (f"{name}.{inner}" for inner in section.model_fields)
        else:
            yield name


class _UniqueKeys(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the library's signature
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _from_yaml(file: Path, faults: list[str]) -> dict[str, Any]:
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 - a SafeLoader
    except OSError as error:
        faults.append(f"{file}: {error.strerror}; name a settings file that can be read")
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        faults.append(f"{file}{where}: is not YAML: {getattr(error, 'problem', None) or 'unreadable text'}")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        faults.append(
            f"{file}: holds a {type(content).__name__}; write sections such as 'logging:' with settings below"
        )
        return {}
    return content


def _describe(error: ValidationError, origins: Mapping[str, str], file: str) -> Iterator[str]:
    for fault in error.errors():
        path = ".".join(str(part) for part in fault["loc"])
        yield f"{origins.get(path, file)}: {_message(path, fault)}"


def _message(path: str, fault: ErrorDetails) -> str:
    if fault["type"] == "extra_forbidden":
        return f"{path} is no setting{_suggestion(path.rpartition('.')[2], _siblings(path))}"
    secret = any(word in path for word in ("api_key", "database.url"))
    value = "" if secret else f" {fault['input']!r}"
    reason = fault["msg"].removeprefix("Value error, ")
    return f"{path}{value}: {reason[0].lower()}{reason[1:]}"


def _siblings(path: str) -> list[str]:
    section = path.rpartition(".")[0]
    if section.startswith("contracts."):
        return list(ContractSettings.model_fields)
    if not section:
        return list(Settings.model_fields)
    return [known.rpartition(".")[2] for known in _paths() if known.rpartition(".")[0] == section]


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"
