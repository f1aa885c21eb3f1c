"""The custom tags by which orders are found again: each is a function of what its order is for."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final

_TAG: Final = re.compile(r"ESC-([0-9a-z]{1,16})-([EST])(\d+)(-SL|-TP)?")
_LENGTH: Final = 16


class Role(StrEnum):
    """What an order is for."""

    ENTRY = "entry"
    STOP = "stop"
    TARGET = "target"
    CLOSE = "close"  # the venue's own, when we have it close a position; it has no tag
    FOREIGN = "foreign"


_ROLES: Final = {"E": Role.ENTRY, "S": Role.STOP, "T": Role.TARGET, "-SL": Role.STOP, "-TP": Role.TARGET}
_LETTERS: Final = {Role.ENTRY: "E", Role.STOP: "S", Role.TARGET: "T"}


def tag(decision_id: str, role: Role, number: int = 0) -> str:
    """Return the tag of an order: the ``number``th of its kind that serves a decision, unique in its account."""
    return f"ESC-{decision_id[:_LENGTH]}-{_LETTERS[role]}{number}"


@lru_cache(maxsize=1_024)  # whoever trades asks for those of the same few orders again and again
def role_of(custom_tag: str | None) -> Role:
    """Return what an order with this tag is for.

    The venue tags a bracket's legs with their entry's tag and a suffix.
    """
    found = None if custom_tag is None else _TAG.fullmatch(custom_tag)
    return Role.FOREIGN if found is None else _ROLES[found[4] or found[2]]


def decision_of(custom_tag: str | None) -> str | None:
    """Return the beginning of the id of the decision that an order serves; None for one that is not ours."""
    found = None if custom_tag is None else _TAG.fullmatch(custom_tag)
    return None if found is None else found[1]


def number_of(custom_tag: str | None) -> int:
    """Return the number in a tag; 0 for one that is not ours."""
    found = None if custom_tag is None else _TAG.fullmatch(custom_tag)
    return 0 if found is None else int(found[3])
