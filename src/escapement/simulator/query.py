"""``Order/v2/query``: orders by filter, page and order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from escapement.errors import InvalidInput
from escapement.moments import ns_from_iso
from escapement.simulator.orders import Order

_LARGEST_PAGE = 1_000
_DEFAULT_PAGE = 100


@dataclass(frozen=True, slots=True)
class Query:
    """What is wanted; an empty ``statuses`` and None mean all."""

    account_id: int
    statuses: frozenset[int]
    contract_id: str | None
    created_after: int | None
    created_before: int | None
    page_size: int
    page_offset: int
    by_id: bool
    descending: bool
    with_total: bool


def checked_query(body: dict[str, Any]) -> Query | dict[str, str]:
    """Return the query of a body, or what is wrong with it by field."""
    wanted: dict[str, Any] = {str(name).lower(): value for name, value in body["filter"].items()}
    size = _DEFAULT_PAGE if body["pageSize"] is None else body["pageSize"]
    offset, sort_by, direction = body["pageOffset"] or 0, body["sortBy"] or 0, body["sortDirection"] or 0
    statuses = wanted.get("statuses") or []
    contract_id = wanted.get("contractid")
    errors: dict[str, str] = {}
    if type(wanted.get("accountid")) is not int:
        errors["filter.accountId"] = "The field is required."
    if not isinstance(statuses, list) or not all(type(each) is int and 0 <= each <= 8 for each in statuses):
        errors["filter.statuses"] = "Must be a list of order statuses, 0 to 8."
    if contract_id is not None and not isinstance(contract_id, str):
        errors["filter.contractId"] = "The JSON value could not be converted."
    after, before = (_time(wanted, name, errors) for name in ("createdAfter", "createdBefore"))
    if not 1 <= size <= _LARGEST_PAGE:
        errors["pageSize"] = f"Must be from 1 to {_LARGEST_PAGE}."
    if offset < 0:
        errors["pageOffset"] = "Must be zero or more."
    for name, value in (("sortBy", sort_by), ("sortDirection", direction)):
        if value not in {0, 1}:
            errors[name] = "Must be 0 or 1."
    if errors:
        return errors
    return Query(
        wanted["accountid"], frozenset(statuses), contract_id, after, before, size,
        offset, sort_by == 1, direction == 1, bool(body["includeTotalCount"]),
    )  # fmt: skip


def _time(wanted: dict[str, Any], name: str, errors: dict[str, str]) -> int | None:
    text = wanted.get(name.lower())
    try:
        return None if text is None else ns_from_iso(str(text))
    except (InvalidInput, OverflowError):
        errors[f"filter.{name}"] = "The JSON value could not be converted."
        return None


def run_query(query: Query, orders: Sequence[Order]) -> tuple[list[Order], int]:
    """Return the page of orders a query asks for, and how many there are on all pages."""
    found = [
        order
        for order in orders
        if (not query.statuses or int(order.status) in query.statuses)
        and (query.contract_id is None or order.contract_id == query.contract_id)
        and (query.created_after is None or order.created_ns >= query.created_after)
        and (query.created_before is None or order.created_ns <= query.created_before)
    ]

    def key(order: Order) -> tuple[int, int]:
        return (0 if query.by_id else order.created_ns), order.order_id

    found.sort(key=key, reverse=query.descending)
    return found[query.page_offset : query.page_offset + query.page_size], len(found)
