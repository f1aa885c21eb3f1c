"""What has to be done about an account while it is traded: limits reached by what is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from escapement.core.risk.floors import floors
from escapement.core.risk.limits import OwnLimits, Pack
from escapement.core.risk.state import AccountState, Market


@dataclass(frozen=True, slots=True)
class Alarm:
    """A limit that is reached: everything is to be closed, and perhaps nothing opened until the next session."""

    code: str
    words: str
    values: Mapping[str, str]
    block_until_next_session: bool


def watch(pack: Pack | None, own: OwnLimits, account: AccountState, market: Market) -> tuple[Alarm, ...]:
    """Return the limits that are reached.

    Open positions count as if they were closed now, longs at the bid and shorts at the ask, after fees: of what sources
    say about open profit, the stricter.
    """
    alarms = []
    equity = account.equity()
    for floor in floors(pack, own, account):
        if equity <= floor.level:
            words = f"the account is worth {equity:.2f}, its floor is {floor.level:.2f}"
            values = {"equity": str(equity), "floor": str(floor.level)}
            alarms.append(Alarm(floor.code, words, values, block_until_next_session=True))
    if market.flat_ns is not None and market.now_ns >= market.flat_ns and any(each.net for each in account.exposures):
        words = "the deadline of this session has come"
        alarms.append(Alarm("deadline", words, {}, block_until_next_session=False))
    return tuple(alarms)
