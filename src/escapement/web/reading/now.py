"""How trading stands now: position, profit, distance to every limit, directions, what was decided and what works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson

from escapement import wiring_execution
from escapement.core.execution import AccountDay, HoldingNote, KeptAccount, KillSwitch, OrderNote
from escapement.core.risk import AccountState, Floor, Pack, floors
from escapement.errors import ConfigurationError
from escapement.model import NS_PER_SECOND, Session, SessionCalendar
from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.coordination import CoordinationStore
from escapement.storage.execution import ExecutionStore
from escapement.storage.viewing import Row, ViewStore
from escapement.web.reading.moments import market_now_ns, moment, moment_or_none
from escapement.web.reading.why import DecisionShown, decision_shown

_DECISIONS = 10
_AHEAD_NS = 7 * 86_400 * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Killed:
    """Whether all trading is stopped, why, by whom, and since when (UTC); the last two None before it ever was."""

    killed: bool
    reason: str
    by: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class PositionNow:
    """What is held of a contract: ``net`` is negative when short, ``protected`` so many contracts have a working stop.

    ``last_price`` is that of the newest bar, ``open_money`` what closing there would make, before fees; ``made`` what
    closed trades made since the account began, after fees. Money in the account's currency.
    """

    account: str
    contract_id: str
    net: int
    average_price: float | None
    protected: int
    last_price: float | None
    open_money: Decimal | None
    made: Decimal


@dataclass(frozen=True, slots=True)
class AccountNow:
    """An account on its last trading day. ``equity`` counts open positions as execution saw them last, at ``as_of``.

    ``made_today`` is what closed trades made since the day began, after fees; ``blocked``: why nothing may be opened.
    """

    account: str
    mode: str
    trade_date: date | None
    start_balance: Decimal
    balance: Decimal
    equity: Decimal
    made_today: Decimal
    open_today: Decimal
    blocked: str
    blocked_until: datetime | None
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class LimitNow:
    """A loss limit: broken at or below ``level``; ``left`` is how far equity may still fall, ``size`` the whole way.

    ``code``: maximum_loss, firm_daily_loss, daily_loss or trailing_loss. ``ends_day``: the day, not all.
    """

    code: str
    level: Decimal
    left: Decimal
    size: Decimal
    ends_day: bool


@dataclass(frozen=True, slots=True)
class DeadlineNow:
    """The session of a contract that trades now or next; no entries from ``no_entries_at``, flat by ``flat_at``."""

    contract_id: str
    trade_date: date
    is_open: bool
    opens_at: datetime
    closes_at: datetime
    no_entries_at: datetime | None
    flat_at: datetime | None


@dataclass(frozen=True, slots=True)
class VoiceNow:
    """What an analyzer said last on a timeframe: ``direction`` 1 long, -1 short, 0 when it contradicts itself."""

    timeframe: str
    analyzer: str
    direction: int
    signal_type: str
    price: float
    since: datetime


@dataclass(frozen=True, slots=True)
class DirectionsNow:
    """What the coordinator heard last of a contract, largest timeframe first, and the position it wishes."""

    contract_id: str
    wished: int
    weighed_to: datetime | None
    voices: tuple[VoiceNow, ...]


@dataclass(frozen=True, slots=True)
class OrderNow:
    """An order that has not ended."""

    account: str
    order: str
    contract_id: str
    role: str
    side: str
    type: str
    size: int
    filled_size: int
    limit_price: float | None
    stop_price: float | None
    status: str
    at: datetime | None
    decision_id: str | None


@dataclass(frozen=True, slots=True)
class Now:
    """Everything at ``at`` (UTC). ``account`` is None before anything was executed; ``decisions`` newest first."""

    at: datetime
    kill: Killed
    account: AccountNow | None
    positions: tuple[PositionNow, ...]
    limits: tuple[LimitNow, ...]
    deadlines: tuple[DeadlineNow, ...]
    directions: tuple[DirectionsNow, ...]
    decisions: tuple[DecisionShown, ...]
    orders: tuple[OrderNow, ...]


class NowReading:
    """Reads how trading stands; every method raises StorageError when the database does not answer."""

    def __init__(self, settings: Settings, database: DBHandler) -> None:
        self._settings = settings
        self._execution = ExecutionStore(database)
        self._coordination = CoordinationStore(database)
        self._views = ViewStore(database)
        self._calendar_of = wiring_execution.calendars_of(settings)

    async def read(self, account: str | None) -> Now:
        """Return how an account stands, that of the settings unless one is named."""
        name = wiring_execution.account_of(self._settings, account)
        series = await self._views.contracts()
        prices = {row["contract_id"]: row["close"] for row in await self._views.last_prices()}
        newest = max((row["last"] for row in series if row["last"] is not None), default=None)
        now_ns = market_now_ns(self._settings, newest)
        kept, days = await self._execution.account(name), await self._execution.days(name)
        pack = _pack(self._settings)
        positions = [each for each in await self._execution.positions(name) if kept is not None]
        directions = await self._views.coordinators(self._settings.coordinator.name)
        decisions = await self._coordination.decisions(most=_DECISIONS)
        contracts = [each.id for each in self._settings.contracts] or [row["contract_id"] for row in series]
        return Now(
            moment(now_ns),
            _killed(await self._execution.kill_switch()),
            None if kept is None else _account(kept, days, await self._views.snapshot_age(name)),
            tuple(_position(each, prices.get(each.contract_id)) for each in positions),
            () if kept is None else _limits(self._settings, pack, kept, days),
            tuple(self._deadlines(list(dict.fromkeys(contracts)), pack, now_ns)),
            tuple(map(_directions, directions)),
            tuple(decision_shown(each) for each in reversed(decisions)),
            tuple(_order(name, each) for each in await self._execution.orders(name, working=True)),
        )

    def _deadlines(self, contracts: Sequence[str], pack: Pack | None, now_ns: int) -> list[DeadlineNow]:
        deadlines = wiring_execution.deadlines_of(self._settings, pack)
        found = []
        for contract_id in contracts:
            try:
                session = _session(self._calendar_of(contract_id), now_ns)
            except ConfigurationError:
                continue  # of a product whose sessions are not known
            if session is not None:
                no_entries_ns, flat_ns = deadlines(session)
                found.append(
                    DeadlineNow(
                        contract_id, session.trade_date, session.open_ns <= now_ns < session.close_ns,
                        moment(session.open_ns), moment(session.close_ns), moment_or_none(no_entries_ns),
                        moment_or_none(flat_ns),
                    )
                )  # fmt: skip
        return found


def _session(calendar: SessionCalendar, now_ns: int) -> Session | None:
    """Return the session that trades now or next."""
    return next(iter(calendar.sessions_between(now_ns, now_ns + _AHEAD_NS)), None)


def _pack(settings: Settings) -> Pack | None:
    try:
        return wiring_execution.firm_rules(settings)
    except ConfigurationError:
        return None  # execution refuses to run with them, and says why


def _killed(switch: KillSwitch) -> Killed:
    return Killed(switch.killed, switch.reason, switch.by, moment(switch.at_ns) if switch.at_ns else None)


def _account(kept: KeptAccount, days: Sequence[AccountDay], as_of: datetime | None) -> AccountNow:
    if not days:
        start = kept.start_balance
        return AccountNow(
            kept.account, kept.mode, None, start, start, start, Decimal(0), Decimal(0), kept.blocked,
            moment_or_none(kept.blocked_until_ns), None,
        )  # fmt: skip
    today = days[-1]
    return AccountNow(
        kept.account, kept.mode, today.trade_date, today.start_balance, today.balance, today.equity,
        today.balance - today.start_balance, today.equity - today.balance, kept.blocked,
        moment_or_none(kept.blocked_until_ns), as_of,
    )  # fmt: skip


def _position(note: HoldingNote, price: float | None) -> PositionNow:
    money = None
    if price is not None and note.average_price is not None and note.net:
        ticks = (Decimal(str(price)) - Decimal(str(note.average_price))) / note.tick_size
        money = (ticks * note.net * note.tick_value).quantize(Decimal("0.01"))
    return PositionNow(
        note.account, note.contract_id, note.net, note.average_price, note.protected, price, money, note.made
    )


def _limits(
    settings: Settings, pack: Pack | None, kept: KeptAccount, days: Sequence[AccountDay]
) -> tuple[LimitNow, ...]:
    own, state = settings.risk.limits(), _state(settings, kept, days)
    sizes = {
        "maximum_loss": None if pack is None else pack.maximum_loss,
        "firm_daily_loss": None if pack is None else pack.daily_loss,
        "daily_loss": own.daily_loss, "trailing_loss": own.trailing_loss,
    }  # fmt: skip
    equity = days[-1].equity if days else kept.start_balance

    def shown(floor: Floor) -> LimitNow:
        size = sizes[floor.code] or Decimal(0)
        return LimitNow(floor.code, floor.level, equity - floor.level, size, floor.ends_day)

    return tuple(map(shown, floors(pack, own, state)))


def _state(settings: Settings, kept: KeptAccount, days: Sequence[AccountDay]) -> AccountState:
    """Return the account as its days tell, for the floors of its limits."""
    risk, past = settings.risk, days[:-1]
    before = [kept.start_balance, *([] if risk.highest_end_of_day is None else [risk.highest_end_of_day])]
    ended = past[-1].balance if past else kept.start_balance
    return AccountState(
        can_trade=True, balance=days[-1].balance if days else kept.start_balance,
        day_start_balance=days[-1].start_balance if days else kept.start_balance,
        highest_end_of_day=max([*before, *(day.balance for day in past)]), end_of_day_balance=ended,
        highest_realised=max([*before, *(day.highest_balance for day in days)]),
        highest_equity=max([*before, *(day.highest_equity for day in days)]), paid_out=risk.paid_out,
    )  # fmt: skip


def _directions(row: Row) -> DirectionsNow:
    state: Mapping[str, Any] = orjson.loads(row["state"] or "{}")
    return DirectionsNow(
        row["contract_id"], int(state.get("position", 0)), row["coordinated_to"],
        tuple(
            VoiceNow(
                each["last"]["timeframe"], each["last"]["analyzer"], int(each["direction"]),
                each["last"]["signal_type"], float(each["last"]["signal_price"]), moment(each["last"]["known_at_ns"]),
            )
            for each in state.get("voices", ())
        ),
    )  # fmt: skip


def _order(account: str, note: OrderNote) -> OrderNow:
    return OrderNow(
        account, note.key, note.contract_id, str(note.role), note.side.name.lower(), note.type.name.lower(), note.size,
        note.filled_size, note.limit_price, note.stop_price, note.status,
        moment_or_none(note.created_ns or note.accepted_ns or note.intended_ns), note.decision_id,
    )  # fmt: skip
