"""Where an account must not fall to: each loss limit as a balance."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from escapement.core.risk.limits import OwnLimits, Pack, Trailing
from escapement.core.risk.state import AccountState


@dataclass(frozen=True, slots=True)
class Floor:
    """A loss limit, named by ``code``: it is broken when the account is at or below ``level``.

    ``ends_day``: then nothing may be opened until the next session; else the account is lost.
    """

    code: str
    level: Decimal
    ends_day: bool


def has_floors(pack: Pack | None, own: OwnLimits) -> bool:
    """Whether there is a loss limit at all."""
    firms = pack is not None and not (pack.maximum_loss is None and pack.daily_loss is None)
    return firms or not (own.daily_loss is None and own.trailing_loss is None)


def floors(pack: Pack | None, own: OwnLimits, account: AccountState) -> tuple[Floor, ...]:
    """Return every floor of an account, the firm's first.

    Source of the maximum loss: floor = min(lock, H - D), H being the highest point its kind of trailing counts, from
    the starting balance on; after a payout the floor is where it locks.
    """
    found = []
    if pack is not None and pack.maximum_loss is not None:
        found.append(Floor("maximum_loss", _trailing_floor(pack, account), ends_day=False))
    if pack is not None and pack.daily_loss is not None:
        found.append(Floor("firm_daily_loss", account.day_start_balance - pack.daily_loss, ends_day=True))
    if own.daily_loss is not None:
        found.append(Floor("daily_loss", account.day_start_balance - own.daily_loss, ends_day=True))
    if own.trailing_loss is not None:
        highest = max(account.day_start_balance, highest_of(own.trailing, account))
        found.append(Floor("trailing_loss", highest - own.trailing_loss, ends_day=True))
    return tuple(found)


def highest_of(trailing: Trailing, account: AccountState) -> Decimal:
    """Return the highest point that a kind of trailing counts."""
    return {
        Trailing.FIXED: account.day_start_balance,
        Trailing.END_OF_DAY: account.highest_end_of_day,
        Trailing.REALISED: account.highest_realised,
        Trailing.OPEN: account.highest_equity,
    }[trailing]


def _trailing_floor(pack: Pack, account: AccountState) -> Decimal:
    loss = pack.maximum_loss or Decimal(0)
    if account.paid_out and pack.locks_at is not None:
        return pack.locks_at
    highest = pack.starting_balance
    if pack.trailing is not Trailing.FIXED:
        highest = max(highest, highest_of(pack.trailing, account))
    level = highest - loss
    return level if pack.locks_at is None else min(level, pack.locks_at)
