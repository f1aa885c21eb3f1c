"""Which contract of a product is traded, and when the next one takes over.

The venue says which contract is the front; a calendar says when changing over harms nobody, which is between two
sessions. For equity indices the date is known ahead: trading moves to the next quarter on the Monday before the third
Friday of the expiry month, on which the old one expires. Source: CME Group's roll dates of equity index futures; the
venue's bars of the June contract of 2025 begin with the session of Monday 17 March.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from escapement.model import NS_PER_SECOND, Contract, Session, SessionCalendar

_MONTHS = {code: month for month, code in enumerate("FGHJKMNQUVXZ", 1)}
_QUARTERS = (3, 6, 9, 12)
# Those whose expiry is the third Friday; the Nikkei, with the same sessions, expires a week earlier.
_THIRD_FRIDAY = frozenset({"EP", "MES", "ENQ", "MNQ", "RTY", "M2K", "YM", "MYM"})
# After a close its last bars are still being completed, and before an open a new connection takes a moment.
_SETTLE_NS = 120 * NS_PER_SECOND
_MARGIN_NS = 60 * NS_PER_SECOND
# A market without a break between its sessions changes over soon after one has begun.
_BEGINNING_NS = 600 * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Stay:
    """The contract held is the front, and will be for a while."""


@dataclass(frozen=True, slots=True)
class RollAhead:
    """The next contract is expected to be the front from ``on`` (a trade date), in ``days`` days; below 0: overdue."""

    on: date
    days: int


@dataclass(frozen=True, slots=True)
class RollWaits:
    """The venue has another front; it is taken at the next boundary between sessions."""

    to: Contract


@dataclass(frozen=True, slots=True)
class RollNow:
    """Change over to ``to``; ``session`` is its first."""

    to: Contract
    session: Session


@dataclass(frozen=True, slots=True)
class RollRefused:
    """The venue's front expires before the contract held: nobody rolls back."""

    to: Contract


RollDecision = Stay | RollAhead | RollWaits | RollNow | RollRefused


def is_of_product(contract: Contract, product: str) -> bool:
    """Whether a contract is of a product, named by the venue's code (``EP``) or by the exchange's (``ES``)."""
    return product.upper() in {_code(contract).upper(), _root(contract).upper()}


def expiry_month(contract_id: str) -> date | None:
    """Return the first day of the month in which a contract expires; None when its id does not tell.

    The gateway's ids are opaque, so this serves to warn and to compare, never to find a contract.
    """
    last = contract_id.rpartition(".")[2].upper()
    if len(last) != 3 or last[0] not in _MONTHS or not (last[1:].isascii() and last[1:].isdigit()):
        return None
    return date(2000 + int(last[1:]), _MONTHS[last[0]], 1)


def roll_date(contract: Contract) -> date | None:
    """Return the trade date from which the next contract is expected to be the front; None when no rule is known."""
    month = expiry_month(contract.contract_id)
    if month is None or month.month not in _QUARTERS or _code(contract).upper() not in _THIRD_FRIDAY:
        return None
    third_friday = month + timedelta(days=(4 - month.weekday()) % 7 + 14)
    return third_friday - timedelta(days=4)


def front_of(product: str, listed: Iterable[Contract], trade_date: date) -> Contract | None:
    """Return the front contract of a product among those the venue lists; None when it lists none.

    It is the active one. Where the venue has several active, it is the first to expire of those not rolled yet.
    """
    active = [contract for contract in listed if contract.active and is_of_product(contract, product)]
    # The venue's own code is exact; an exchange symbol could be somebody else's code.
    exact = [contract for contract in active if _code(contract).upper() == product.upper()]
    current = sorted(exact or active, key=_expiry)
    for contract in current:
        on = roll_date(contract)
        if on is None or trade_date < on:
            return contract
    return current[-1] if current else None


def boundary(calendar: SessionCalendar, now_ns: int) -> Session | None:
    """Return the session that begins at this boundary, when a contract may be changed now; None at any other time.

    That is the break between two sessions, apart from its first two minutes and its last; without a break, the first
    ten minutes of a session. The calendar's holiday breaks inside a session are no boundary.
    """
    sessions: Sequence[Session] = calendar.sessions
    index = bisect_right(sessions, now_ns, key=_open_ns) - 1
    if index < 0:
        return None
    if index + 1 < len(sessions) and now_ns >= sessions[index].close_ns:
        upcoming = sessions[index + 1]
        fits = sessions[index].close_ns + _SETTLE_NS <= now_ns < upcoming.open_ns - _MARGIN_NS
        return upcoming if fits else None
    if index == 0 or now_ns >= sessions[index].close_ns:
        return None
    current, before = sessions[index], sessions[index - 1]
    seamless = current.open_ns - before.close_ns <= _SETTLE_NS + _MARGIN_NS
    return current if seamless and now_ns < current.open_ns + _BEGINNING_NS else None


def trade_date_of(calendar: SessionCalendar, now_ns: int) -> date | None:
    """Return the trade date of the running session, or of the next one; None beyond the calendar's end."""
    index = bisect_right(calendar.sessions, now_ns, key=_close_ns)
    return calendar.sessions[index].trade_date if index < len(calendar.sessions) else None


def decide(
    held: Contract, front: Contract, calendar: SessionCalendar, now_ns: int, *, ahead_days: int = 7
) -> RollDecision:
    """Say what to do about the contract held, given the venue's front.

    Args:
        held: what is ingested now.
        front: the venue's front of the same product.
        calendar: the product's sessions.
        now_ns: the time, nanoseconds UTC.
        ahead_days: from how many days before an expected roll on to tell of it.
    """
    if front.contract_id == held.contract_id:
        on, today = roll_date(held), trade_date_of(calendar, now_ns)
        if on is None or today is None or (on - today).days > ahead_days:
            return Stay()
        return RollAhead(on, (on - today).days)
    ours, theirs = expiry_month(held.contract_id), expiry_month(front.contract_id)
    if ours is not None and theirs is not None and theirs < ours:
        return RollRefused(front)
    session = boundary(calendar, now_ns)
    return RollWaits(front) if session is None else RollNow(front, session)


def _code(contract: Contract) -> str:
    return contract.symbol_id.rpartition(".")[2]


def _root(contract: Contract) -> str:
    """Return the exchange's symbol: the name without month letter and the last digit of the year."""
    name = contract.name
    return name[:-2] if len(name) > 2 and name[-2] in _MONTHS and name[-1].isdigit() else name


def _expiry(contract: Contract) -> tuple[date, str]:
    return expiry_month(contract.contract_id) or date.max, contract.contract_id


def _open_ns(session: Session) -> int:
    return session.open_ns


def _close_ns(session: Session) -> int:
    return session.close_ns
