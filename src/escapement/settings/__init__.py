"""Every setting, typed, from a YAML file, ``.env`` and the environment.

Later sources win: defaults, then the YAML file, then ``.env``, then the environment, then a command's own options. A
variable is named ``ESCAPEMENT_SECTION__NAME`` (``ESCAPEMENT_LOGGING__LEVEL``); the few in ``sources.VARIABLES`` have
other names too. Unknown keys and variables, wrong types and impossible values are refused, all at once, a line each.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from escapement.errors import ConfigurationError
from escapement.settings.coordination import RULES, ConflictSettings, CoordinatorSettings
from escapement.settings.dashboard import DashboardSettings
from escapement.settings.execution import BacktestSettings, ExecutionSettings, RiskSettings, WatchdogSettings
from escapement.settings.operations import NotifySettings, OperationsSettings
from escapement.settings.sections import (
    AnalyzerSettings,
    AnalyzersSettings,
    ContractSettings,
    DatabaseSettings,
    GatewaySettings,
    IngestSettings,
    LoggingSettings,
    ProductSettings,
    RecorderSettings,
    Settings,
    setting_paths,
)
from escapement.settings.sources import (
    LIVE_VARIABLE,
    LOCATION_VARIABLE,
    SETTINGS_VARIABLE,
    Gathered,
    lay_over_variables,
    lay_over_yaml,
    read_dotenv,
    suggestion,
)

__all__ = [
    "LIVE_VARIABLE",
    "LOCATION_VARIABLE",
    "AnalyzerSettings",
    "AnalyzersSettings",
    "BacktestSettings",
    "ContractSettings",
    "CoordinatorSettings",
    "DashboardSettings",
    "DatabaseSettings",
    "ExecutionSettings",
    "GatewaySettings",
    "IngestSettings",
    "LoggingSettings",
    "NotifySettings",
    "OperationsSettings",
    "ProductSettings",
    "RecorderSettings",
    "RiskSettings",
    "Settings",
    "WatchdogSettings",
    "load_settings",
    "load_settings_with_origins",
    "setting_paths",
]

_DEFAULT_FILE = Path("config/settings.yaml")
_DOTENV = Path(".env")
_LISTS = (
    "contracts.",
    "run.services.",
    "dashboard.names.",
    "dashboard.proxies.",
    "products.",
    "timeframes.",
    "analyzers.run.",
    "coordinator.",
)


def load_settings(file: Path | None = None, *, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings in force.

    Args:
        file: the YAML file; else the one ``ESCAPEMENT_SETTINGS`` names; else ``config/settings.yaml`` if it is there.
        environ: in place of the process's environment.
        overrides: sections or values that win over everything, as nested dictionaries.

    Raises:
        ConfigurationError: something cannot be used; the message has a line for each fault.
    """
    return load_settings_with_origins(file, environ=environ, **overrides)[0]


def load_settings_with_origins(
    file: Path | None = None, *, environ: Mapping[str, str] | None = None, **overrides: Any
) -> tuple[Settings, dict[str, str]]:
    """Read the settings in force, as ``load_settings`` does, and where each came from, by its path."""
    gathered = _gather(file, dict(os.environ if environ is None else environ), overrides)
    try:
        settings = Settings.model_validate(gathered.values)
    except ValidationError as error:
        gathered.faults += [_describe(fault, gathered) for fault in error.errors()]
    if gathered.faults:
        raise ConfigurationError("\n".join(gathered.faults))
    return settings, {path: gathered.origins.get(path, "default") for path in setting_paths()}


def _gather(file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any]) -> Gathered:
    gathered = Gathered()
    dotenv = read_dotenv(_DOTENV, gathered.faults)
    named = environ.get(SETTINGS_VARIABLE) or dotenv.get(SETTINGS_VARIABLE)
    chosen = file or (Path(named) if named else None)
    if chosen is None and _DEFAULT_FILE.exists():
        chosen = _DEFAULT_FILE
    if chosen is not None:
        lay_over_yaml(gathered, chosen)
    lay_over_variables(gathered, dotenv, str(_DOTENV), setting_paths())
    lay_over_variables(gathered, environ, "environment", setting_paths())
    gathered.lay_over(overrides, {}, "command line")
    return gathered


def _describe(fault: ErrorDetails, gathered: Gathered) -> str:
    path = ".".join(str(part) for part in _without_tag(fault["loc"]))
    if fault["type"] == "extra_forbidden":
        what = f"{path} is no setting{suggestion(path.rpartition('.')[2], _siblings(path, fault['loc']))}"
    elif fault["type"] == "union_tag_not_found":
        what = f"{path} names no rule; write for example {{rule: pass_through}}"
    else:
        reason = fault["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
        what = f"{path}{_shown(path, fault['input'])}: {reason}"
    return f"{gathered.origin(path)}: {what}"


def _without_tag(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Leave out which kind of rule was read: in the file a rule's parameters stand beside its name."""
    is_rule = place[:1] == ("coordinator",) and len(place) > 3 and isinstance(place[2], int) and place[3] in RULES
    return (*place[:3], *place[4:]) if is_rule else place


def _shown(path: str, value: object) -> str:
    """Return the value to show in a fault: nothing that is or may hold a secret."""
    holds_secret = path not in setting_paths() and not path.startswith(_LISTS)
    if holds_secret or path in _secret_paths() or not isinstance(value, str | int | float) or "@" in str(value):
        return ""
    return f" {value!r}"


def _secret_paths() -> list[str]:
    return [
        f"{section}.{name}"
        for section, outer in Settings.model_fields.items()
        if isinstance(outer.annotation, type) and issubclass(outer.annotation, BaseModel)
        for name, inner in outer.annotation.model_fields.items()
        if SecretStr in getattr(inner.annotation, "__args__", ())
    ]


def _siblings(path: str, place: tuple[int | str, ...]) -> list[str]:
    section = path.rpartition(".")[0]
    if place[:2] == ("coordinator", "conflict"):
        return [*ConflictSettings.model_fields]
    if _without_tag(place) != place:
        return [field.alias or name for name, field in RULES[str(place[3])].model_fields.items()]
    if section.startswith("contracts."):
        return list(ContractSettings.model_fields)
    if section.startswith("products."):
        return list(ProductSettings.model_fields)
    if section.startswith("analyzers.run."):
        return list(AnalyzerSettings.model_fields)
    if not section:
        return list(Settings.model_fields)
    return [known.rpartition(".")[2] for known in setting_paths() if known.rpartition(".")[0] == section]
