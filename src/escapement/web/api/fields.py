"""What the fields of a call can be, as its OpenAPI says."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated

from fastapi import Path, Query
from pydantic import BeforeValidator

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d:\d\d)")
NAME = r"^[^\x00]*$"
TIMEFRAME = r"^(?:[1-9][0-9]{0,4}[smh]|1d|1w|1mo)$"


def _iso_date(value: object) -> object:
    """Refuse the numbers that would otherwise count as days since 1970."""
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("is no date; write for example 2025-03-17")
    return value


def _iso_moment(value: object) -> object:
    """Refuse times without a zone, and numbers."""
    if isinstance(value, str) and not _MOMENT.fullmatch(value):
        raise ValueError("is no ISO 8601 time with a zone; write for example 2025-03-17T13:30:00Z")
    return value


IsoDate = Annotated[date, BeforeValidator(_iso_date)]
IsoMoment = Annotated[datetime, BeforeValidator(_iso_moment)]

ContractId = Annotated[str, Path(description="The gateway's id of a contract.", max_length=200, pattern=NAME)]
Name = Annotated[str | None, Query(max_length=200, pattern=NAME)]
Timeframe = Annotated[str, Query(description="A count and s, m or h, or one of 1d, 1w, 1mo.", pattern=TIMEFRAME)]
SomeTimeframe = Annotated[str | None, Query(description="Only of bars of this timeframe.", pattern=TIMEFRAME)]
Begin = Annotated[IsoMoment | None, Query(description="From then on, with a time zone.")]
End = Annotated[IsoMoment | None, Query(description="Before then, with a time zone.")]
Most = Annotated[int, Query(ge=10, le=10_000, description="How many at most.")]
Day = Annotated[IsoDate | None, Query(description="A trade date.")]
