"""How the machine is: services, how far each stage is behind, errors, the database, versions, settings."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import yaml

from escapement.logs import redact
from escapement.model import Timeframe, TimeframeUnit
from escapement.settings import Settings
from escapement.storage import DBHandler, Status
from escapement.storage.health import ALIVE_S, HealthStore, is_well, state_seen
from escapement.storage.schema import server_of
from escapement.storage.viewing import Row, ViewStore
from escapement.web.reading.moments import moment

_TROUBLES: Final = 50
_LIBRARIES: Final = ("asyncpg", "fastapi", "nicegui", "numpy", "pydantic", "uvicorn")


@dataclass(frozen=True, slots=True)
class ServiceShown:
    """A service of ``escapement run``; ``state`` as in docs/run.md, ``well``: as it should be."""

    service: str
    state: str
    well: bool
    since: datetime
    restarts: int
    process: str
    error: str


@dataclass(frozen=True, slots=True)
class StageShown:
    """How far a stage has got with a contract, market time; ``timeframe`` is empty where it goes by contract.

    ``behind_s``: how far that is behind what is stored for it to read; None where there is nothing.
    """

    stage: str
    contract_id: str
    timeframe: str
    at: datetime | None
    behind_s: float | None
    fault: str


@dataclass(frozen=True, slots=True)
class TroubleShown:
    """Something that went wrong, newest first: of a service, an analyzer, the venue's answers or our book."""

    at: datetime
    source: str
    words: str


@dataclass(frozen=True, slots=True)
class TableShown:
    """A table with its indexes; ``uncompressed_bytes`` is what compressed chunks took before, None without any."""

    table: str
    rows: int
    bytes: int
    uncompressed_bytes: int | None
    compressed_bytes: int | None


@dataclass(frozen=True, slots=True)
class DatabaseShown:
    """The server, the schema, and how large everything is; ``rows`` are the server's estimates."""

    server: str
    embedded: bool
    schema: str
    timescale: str
    bytes: int
    tables: tuple[TableShown, ...]


@dataclass(frozen=True, slots=True)
class SettingShown:
    """A setting in force, as YAML; secrets are masked. ``changed``: it is not as it is by default."""

    path: str
    value: str
    changed: bool


@dataclass(frozen=True, slots=True)
class System:
    """All of it at ``at`` (UTC); ``versions`` by name."""

    at: datetime
    services: tuple[ServiceShown, ...]
    stages: tuple[StageShown, ...]
    troubles: tuple[TroubleShown, ...]
    database: DatabaseShown
    versions: dict[str, str]
    settings: tuple[SettingShown, ...]


async def system(settings: Settings, database: DBHandler) -> System:
    """Return how services, stages and database are.

    Raises:
        StorageError: the database does not answer.
    """
    views = ViewStore(database)
    services = await HealthStore(database).services(ALIVE_S)
    return System(
        datetime.now(UTC),
        tuple(
            ServiceShown(
                each.service, state_seen(each), is_well(each), moment(each.since_ns), each.restarts, each.process,
                each.error,
            )
            for each in services
        ),
        tuple(map(_stage, await views.stages())),
        tuple(TroubleShown(row["at"], row["source"], redact(row["words"])) for row in await views.troubles(_TROUBLES)),
        await _database(settings, database, views),
        versions(),
        tuple(settings_shown(settings)),
    )  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of this program and of what it stands on."""
    libraries = {name: importlib.metadata.version(name) for name in ("escapement", *_LIBRARIES)}
    return {"python": platform.python_version(), **libraries}


def settings_shown(settings: Settings) -> Iterator[SettingShown]:
    """Yield every setting in force, secrets masked."""
    values, defaults = _flat(settings.model_dump(mode="json")), _flat(Settings().model_dump(mode="json"))
    for path, value in values.items():
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1_000)
        yield SettingShown(path, redact(text.removesuffix("...\n").strip()), value != defaults.get(path))


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by their paths; below a section a table is one setting."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= (
            {f"{name}.{inner}": each for inner, each in value.items()} if isinstance(value, dict) else {name: value}
        )
    return found


def _stage(row: Row) -> StageShown:
    unit = row["timeframe_unit"]
    name = "" if unit is None else str(Timeframe(TimeframeUnit(unit), row["timeframe_value"]))
    behind_s = None
    if row["newest"] is not None and row["at"] is not None:
        behind_s = max(0.0, (row["newest"] - row["at"]) / timedelta(seconds=1))
    return StageShown(row["stage"], row["contract_id"], name, row["at"], behind_s, row["fault"])


async def _database(settings: Settings, database: DBHandler, views: ViewStore) -> DatabaseShown:
    status: Status = await server_of(database)
    scale = status.timescale
    used = "not used" if scale.installed is None else f"{scale.installed}, {scale.license} licence"
    tables: Sequence[Mapping[str, Any]] = await views.tables(hypertables=scale.hypertable)
    return DatabaseShown(
        f"PostgreSQL {status.server_version}", settings.database.url is None, status.revision or "", used,
        await views.size(),
        tuple(
            TableShown(row["name"], row["rows"], row["bytes"], row["uncompressed_bytes"], row["compressed_bytes"])
            for row in tables
        ),
    )  # fmt: skip
