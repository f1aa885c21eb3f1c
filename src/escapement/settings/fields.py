"""The types that settings are made of: how a value is read from YAML or a variable, and what is wrong with it."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from escapement.core.coordination import DAYS, span
from escapement.errors import InvalidTimeframe
from escapement.model import NS_PER_SECOND, Timeframe

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")

_LONG_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_INTEGER: Final = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")


class Loader(yaml.SafeLoader):
    """Reads YAML without its numbers to base 60: 15:00 is a time of day, which 900 is not."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, _INTEGER if tag == "tag:yaml.org,2002:int" else form) for tag, form in known]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def split(value: object) -> object:
    """Let a list stand in one environment variable, separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def no_flag(value: object) -> object:
    """Refuse yes and no where a number is meant."""
    if isinstance(value, bool):
        raise ValueError("is not a number")  # noqa: TRY004 - what pydantic turns into a fault of the field
    return value


def need(value: object) -> object:
    """Read ``all`` or how many."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("is neither all nor a whole number of 1 or more")


def _timeframe(value: object) -> object:
    try:
        return Timeframe.parse(value) if isinstance(value, str) else value
    except InvalidTimeframe as error:
        raise ValueError(str(error)) from None


def once_each(timeframes: tuple[Timeframe, ...]) -> tuple[Timeframe, ...]:
    """Refuse a timeframe that stands there twice."""
    for timeframe in timeframes:
        if timeframes.count(timeframe) > 1:
            raise ValueError(f"{timeframe} stands there twice; name each once")
    return timeframes


def from_yaml(value: object) -> object:
    """Let a list or a table stand in one environment variable, as YAML: ``[pass_through]``."""
    if not isinstance(value, str):
        return value
    try:
        return Loader(value).get_single_data()
    except yaml.YAMLError:
        raise ValueError("is not YAML; write for example [{rule: confluence, timeframes: [1h, 15m]}]") from None


def _duration(value: object) -> object:
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) and value.strip() else None
    if found is None:
        raise ValueError("is no length of time; write for example 30s, 90m, 4h or 1d12h")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    length_ns = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * NS_PER_SECOND
    if not 0 < length_ns <= 3_660 * 86_400 * NS_PER_SECOND:
        raise ValueError("is no length of time above 0 and below ten years; write for example 90m")
    return length_ns


def _clock(value: object) -> object:
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('is no time of day; write "08:30", 00:00 to 23:59')
    return time(int(found[1]), int(found[2]))


def _zone(value: object) -> object:
    try:
        return ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        raise ValueError("is no time zone; write for example America/Chicago or UTC") from None


def _day(value: object) -> object:
    text = str(value).lower()
    for number, names in enumerate(zip(DAYS, _LONG_DAYS, strict=True)):
        if text in names:
            return number
    raise ValueError(f"is no day; use some of {', '.join(DAYS)}")


Seconds = Annotated[float, BeforeValidator(no_flag), Field(gt=0)]
Count = Annotated[int, BeforeValidator(no_flag), Field(ge=1)]
TimeframeName = Annotated[Timeframe, BeforeValidator(_timeframe), PlainSerializer(str, return_type=str)]
Duration = Annotated[int, BeforeValidator(_duration), PlainSerializer(span, return_type=str)]
Clock = Annotated[time, BeforeValidator(_clock), PlainSerializer(lambda at: f"{at:%H:%M}", return_type=str)]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone), PlainSerializer(str, return_type=str)]
Day = Annotated[int, BeforeValidator(_day), PlainSerializer(lambda day: DAYS[day], return_type=str)]


class Section(BaseModel):
    """A group of settings: frozen, and nothing in it that is not known."""

    # Inputs stay out of pydantic's own error texts, because they may be secrets.
    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False, hide_input_in_errors=True
    )
