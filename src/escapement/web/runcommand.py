"""From what is wished to the command line that runs it, with nothing in it that could reach beyond a backtest."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from escapement.errors import InvalidInput
from escapement.settings import ContractSettings, Settings, setting_paths
from escapement.web.runwish import RunKind, RunWish
from escapement.wiring_execution import calendars_of

# Sections that change what a backtest does, and cannot make it reach for anything else.
_SETTABLE: Final = "analyzers", "coordinator", "execution", "risk", "backtest"
_METHODS: Final = "grid", "random", "optuna"
_OBJECTIVES: Final = "net", "sharpe", "sortino", "calmar", "profit_factor", "expectancy"
_MOST_TEXT: Final = 500
_MOST_NAMES: Final = 20
_MOST_POINTS: Final = 10_000
_MOST_WINDOWS: Final = 50
_FIRST_YEAR: Final = 2000
# Of files and of YAML's references, which no value of a setting needs here.
_FORBIDDEN: Final = re.compile(r"[/\\#&\x00-\x1f]|\.py\b")
WHEN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]{5,18}(?:Z|[+-][0-9]{2}:[0-9]{2}))?$"
# Lower than what trades: a backtest takes what is left of the machine.
_NICE: Final = ("nice", "-n", "10")


def check(settings: Settings, wish: RunWish) -> None:
    """Refuse a wish that cannot be run, or would reach for files.

    Raises:
        InvalidInput: it names the field, the value and the remedy.
    """
    calendar_of = calendars_of(settings)
    for name, text in (("begin", wish.begin), ("end", wish.end)):
        if not _is_time(text):
            raise InvalidInput(
                f"{name} {text[:40]!r} is neither a trade date, such as 2025-03-17, nor an ISO 8601 time"
            )
    for contract_id in wish.contracts:
        if not contract_id or not contract_id.isprintable() or "," in contract_id or len(contract_id) > _MOST_TEXT:
            raise InvalidInput(f"contracts {contract_id[:40]!r} is no contract; write the gateway's id")
        calendar_of(contract_id)
    if len(set(wish.contracts)) < len(wish.contracts):
        raise InvalidInput(f"contracts {', '.join(wish.contracts)[:200]} names one twice; name each once")
    if wish.method not in _METHODS or wish.objective not in _OBJECTIVES:
        raise InvalidInput(
            f"method {wish.method!r} or objective {wish.objective!r} is unknown; use one of {', '.join(_METHODS)}, and "
            f"one of {', '.join(_OBJECTIVES)}"
        )
    if not 1 <= wish.trials <= _MOST_POINTS or not 1 <= wish.windows <= _MOST_WINDOWS:
        raise InvalidInput(f"trials {wish.trials} or windows {wish.windows} is not within 1 to {_MOST_POINTS} and "
                           f"1 to {_MOST_WINDOWS}")  # fmt: skip
    if (wish.kind is RunKind.SWEEP) != bool(wish.over):
        raise InvalidInput(
            "over is missing, or given for a backtest; a sweep names the settings to try, nothing else does"
        )
    _check_settings("changes", wish.changes or {})
    _check_settings("over", wish.over or {})


def _is_time(text: str) -> bool:
    try:
        return re.fullmatch(WHEN, text) is not None and datetime.fromisoformat(text).year >= _FIRST_YEAR
    except ValueError:
        return False


def command(wish: RunWish, folder: Path) -> list[str]:
    """Return the program and its arguments; it is to be started in ``folder``, where ``settings.yaml`` lies."""
    own = [*_NICE, sys.executable, "-u", "-m", "escapement", "--settings", "settings.yaml", str(wish.kind)]
    own += [f"--from={wish.begin}", f"--to={wish.end}"]
    own += [f"--set={path}={text}" for path, text in (wish.changes or {}).items()]
    if wish.kind is RunKind.BACKTEST:
        return [*own, "--json=report.json", "--html=report.html"]
    own += [f"--over={path}={text}" for path, text in (wish.over or {}).items()]
    own += [f"--method={wish.method}", f"--trials={wish.trials}", f"--objective={wish.objective}"]
    return [*own, f"--windows={wish.windows}", f"--out={folder}"]


def settings_of(settings: Settings, wish: RunWish) -> dict[str, Any]:
    """Return the settings that a run is started with, as plain data without secrets; the database's URL is one."""
    plain = settings.model_dump(mode="json", by_alias=True)
    known = {each.id: each for each in settings.contracts}
    chosen = [known.get(each, ContractSettings(id=each)) for each in wish.contracts] or list(settings.contracts)
    found = {name: plain[name] for name in ("data_dir", "timeframes", *_SETTABLE)}
    # Files are named from where this program was started, and the run is started elsewhere.
    found["analyzers"]["run"] = [_absolute(each) for each in found["analyzers"]["run"]]
    rules = found["risk"]["firm_rules"]
    if rules is not None and "#" in rules:
        file, _, name = rules.rpartition("#")
        found["risk"]["firm_rules"] = f"{Path(file).resolve()}#{name}"
    return {**found, "contracts": [each.model_dump(mode="json") for each in chosen]}


def _check_settings(field: str, values: Mapping[str, str]) -> None:
    if len(values) > _MOST_NAMES:
        raise InvalidInput(f"{field} names {len(values)} settings; name at most {_MOST_NAMES}")
    known = [path for path in setting_paths() if path.partition(".")[0] in _SETTABLE]
    for path, text in values.items():
        if not any(path == each or path.startswith(f"{each}.") for each in known) or not path.isprintable():
            raise InvalidInput(f"{field} {path[:60]!r} is no setting of {', '.join(_SETTABLE)}; name one of those")
        if len(text) > _MOST_TEXT or _FORBIDDEN.search(text):
            raise InvalidInput(
                f"{field} {path}: the value names a file, or is too long; change that in the settings file"
            )


def _absolute(analyzer: object) -> object:
    if isinstance(analyzer, dict):
        return {**analyzer, "name": _absolute(analyzer["name"])}
    name = str(analyzer)
    return str(Path(name).resolve()) if name.endswith(".py") else name
