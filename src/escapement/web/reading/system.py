"""How the machine is: services, how far each stage is behind, errors, the database, versions, settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
    """How far a stage has got with a contract (``timeframe`` empty where it goes by contract): up to ``at``, market time.

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
