"""Prop firms' rules as dated data: which pack of rules held on a day, and its deadlines in a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from escapement.core.risk import Pack, Tier, Trailing
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Session
from escapement.moments import ns_from_datetime

__all__ = ["deadlines", "pack", "pack_names"]

_CHICAGO = ZoneInfo("America/Chicago")
# The hour at which sessions close by their weekly template; one that ends before it closes early.
_USUAL_CLOSE = time(16)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Source(_Strict):
    rules: str
    checked: date
    sure: str
    source: str = Field(alias="from")


class _Tier(_Strict):
    profit: Decimal
    lots: Decimal = Field(gt=0)


class _Rules(_Strict):
    name: str = Field(min_length=1, pattern=r"^[a-z0-9_]+$")
    title: str
    valid_from: date
    starting_balance: Decimal = Field(ge=0)
    maximum_loss: Decimal | None = Field(None, gt=0)
    trailing: Trailing = Trailing.FIXED
    locks_at: Decimal | None = None
    daily_loss: Decimal | None = Field(None, gt=0)
    most_lots: Decimal | None = Field(None, gt=0)
    tiers: tuple[_Tier, ...] = ()
    micros: frozenset[str] = frozenset()
    no_entries_after: time | None = None
    flatten_at: time | None = None
    minutes_before_close: int = Field(5, ge=0)
    own_device: bool = False
    no_hedging: bool = False
    correlated: tuple[frozenset[str], ...] = ()
    profit_target: Decimal | None = Field(None, gt=0)
    best_day_share: Decimal | None = Field(None, gt=0, le=1)
    payout_days: int | None = Field(None, ge=1)
    payout_day_profit: Decimal = Field(Decimal(0), ge=0)

    @field_validator("trailing", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        if value not in list(Trailing):
            raise ValueError(f"is unknown; use one of {', '.join(Trailing)}")
        return value

    def pack(self) -> Pack:
        """Return the rules for the risk checks."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _Rules.model_fields}
        values["tiers"] = tuple(Tier(each.profit, each.lots) for each in self.tiers)
        return Pack(**values)


class _File(_Strict):
    firm: str
    sources: tuple[_Source, ...] = Field(min_length=1)
    common: Mapping[str, Any] = {}
    packs: tuple[Mapping[str, Any], ...] = Field(min_length=1)


def pack_names() -> tuple[str, ...]:
    """Return the names of the packs that are shipped."""
    return tuple(dict.fromkeys(each.name for each in _shipped()))


def pack(name: str, on: date) -> Pack:
    """Return the rules that hold on a day.

    Args:
        name: of a shipped pack; or ``FILE#NAME`` for one of an own file, ``FILE`` alone where it holds but one.
        on: the trade date.

    Raises:
        InvalidInput: there is no such pack, none for that day, or its file cannot be used.
    """
    path, _, inner = name.partition("#")
    if path.endswith((".yaml", ".yml")):
        found = _read(path, _text_of(Path(path).expanduser()))
        wanted = inner or found[0].name
    else:
        found, wanted = _shipped(), name
    known = [each for each in found if each.name == wanted]
    if not known:
        names = ", ".join(dict.fromkeys(each.name for each in found))
        raise InvalidInput(f"pack of rules {name!r} is unknown; use one of {names}, or a file of your own (FILE#NAME)")
    valid = [each for each in known if each.valid_from <= on]
    if not valid:
        first = min(each.valid_from for each in known)
        raise InvalidInput(f"pack of rules {name!r} is valid from {first} on, not on {on}; use a later day")
    return max(valid, key=lambda each: each.valid_from)


def deadlines(rules: Pack, session: Session) -> tuple[int | None, int | None]:
    """Return from when on in a session nothing may be opened, and when all has to be closed, nanoseconds UTC.

    Both are times of day in Chicago on the trade date. In a session that closes earlier than usual all is closed
    ``minutes_before_close`` before its close, and entries end as long before that as on other days.
    """
    clock = [
        None if at is None else ns_from_datetime(datetime.combine(session.trade_date, at, _CHICAGO))
        for at in (rules.no_entries_after, rules.flatten_at)
    ]
    no_entries_ns, flat_ns = clock
    usual_ns = ns_from_datetime(datetime.combine(session.trade_date, _USUAL_CLOSE, _CHICAGO))
    if session.close_ns < usual_ns:
        before = timedelta(minutes=rules.minutes_before_close)
        latest_ns = session.close_ns - int(before.total_seconds()) * NS_PER_SECOND
        lead_ns = 0 if no_entries_ns is None or flat_ns is None else flat_ns - no_entries_ns
        flat_ns = latest_ns if flat_ns is None else min(flat_ns, latest_ns)
        no_entries_ns = flat_ns - lead_ns if no_entries_ns is None else min(no_entries_ns, flat_ns - lead_ns)
    return no_entries_ns, flat_ns


@lru_cache
def _shipped() -> tuple[Pack, ...]:
    folder = resources.files(__package__)
    files = sorted(each.name for each in folder.iterdir() if each.name.endswith(".yaml"))
    return tuple(each for name in files for each in _read(name, folder.joinpath(name).read_text(encoding="utf-8")))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise InvalidInput(f"{path}: {reason}; name a file of rules that can be read") from None


def _read(where: str, text: str) -> Sequence[Pack]:
    try:
        file = _File.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise InvalidInput(f"{where}: is not YAML: {' '.join(str(error).split())}; mend it there") from None
    except ValidationError as error:
        raise InvalidInput("\n".join(f"{where}: {line}" for line in _lines(error))) from None
    packs = []
    for number, own in enumerate(file.packs):
        name = own.get("name", f"packs.{number}")
        try:
            packs.append(_Rules.model_validate({**file.common, **own}).pack())
        except ValidationError as error:
            raise InvalidInput("\n".join(f"{where}: {name}: {line}" for line in _lines(error))) from None
    return packs


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for each in error.errors():
        field = ".".join(map(str, each["loc"]))
        said = each["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
        shown = f" {each['input']!r}" if isinstance(each["input"], str | int | float) else ""
        remedy = "; take it out" if each["type"] == "extra_forbidden" else ""
        lines.append(f"{field}{shown}: {said}{remedy}")
    return lines
