"""Binding execution and the watchdog to the gateway or the paper account, and to the database."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from escapement import firms, wiring
from escapement.calendars import calendar_for_contract
from escapement.core.dealing import Dealer, DealParams
from escapement.core.execution import AccountBook, KeptAccount, KillSwitch, Lot, Role
from escapement.core.risk import Pack
from escapement.errors import ConfigurationError, InvalidInput
from escapement.model import NS_PER_SECOND, Account, Fill, PriceGrid, Session, SessionCalendar
from escapement.paper import PaperVenue
from escapement.ports import AccountFeed, Broker, TradeFeed
from escapement.projectx import GatewayClient, HubParams, MarketFeed, UserFeed
from escapement.services.bookkeeping import Bookkeeper
from escapement.services.dealing import Clock, Dealing
from escapement.services.execute import CHANNELS, ExecuteParams, Execution
from escapement.services.leased import LeasedBroker
from escapement.services.marketclock import MarketClock
from escapement.services.pace import Pace
from escapement.services.plan import names_of
from escapement.services.watchdog import Watchdog, WatchdogParams
from escapement.settings import LIVE_VARIABLE, LOCATION_VARIABLE, Settings
from escapement.simulator.fills import FillModel
from escapement.storage import DBHandler
from escapement.storage.doorbell import Doorbell
from escapement.storage.execution import ExecutionStore
from escapement.storage.leases import Leases

# Whoever looks after positions learns soon that the venue does not answer, and asks again himself.
_ATTEMPTS = 2
_MINUTE_NS, _DAY_NS, _WEEK_NS = 60 * NS_PER_SECOND, 86_400 * NS_PER_SECOND, 7 * 86_400 * NS_PER_SECOND


def check_mode(settings: Settings, mode: str | None, environ: Mapping[str, str]) -> str:
    """Return the mode to trade in: paper, unless everything that live needs is there.

    Args:
        settings: in force.
        mode: as asked for on the command line, None for that of the settings.
        environ: the process's environment; what it has to say cannot stand in a file.

    Raises:
        ConfigurationError: live is asked for, and something is missing; a line for each thing.
    """
    chosen, execution = mode or settings.execution.mode, settings.execution
    if chosen == "paper":
        return chosen
    if chosen != "live":
        raise ConfigurationError(f"--mode {chosen!r} is unknown; use paper or live")
    faults = []
    if execution.mode != "live":
        faults.append("--mode live: execution.mode is paper; set it to live too if orders shall be sent to the venue")
    if environ.get(LIVE_VARIABLE) != "yes":
        faults.append(
            f"execution.mode live: {LIVE_VARIABLE} is not yes; set it in the environment (not in a file) to trade live"
        )
    if execution.account is None:
        faults.append(
            "execution.account is missing; name the account to trade, as escapement gateway accounts shows it"
        )
    pack = firm_rules(settings)
    if pack is not None and pack.own_device and environ.get(LOCATION_VARIABLE) != "own-device":
        faults.append(
            f"risk.firm_rules {pack.name}: the firm forbids trading from servers; set {LOCATION_VARIABLE}=own-device "
            "in the environment of a device of your own"
        )
    if faults:
        raise ConfigurationError("\n".join(faults))
    return chosen


def firm_rules(settings: Settings) -> Pack | None:
    """Return the firm's rules of today, None without a firm.

    Raises:
        ConfigurationError: they are not known.
    """
    name = settings.risk.firm_rules
    return None if name is None else firms.pack(name, datetime.now(UTC).date())


def deadlines_of(settings: Settings, pack: Pack | None) -> Callable[[Session], tuple[int | None, int | None]]:
    """Return what tells a session's deadlines: the earlier of the firm's and the trader's own."""
    own = settings.risk.no_entries_minutes, settings.risk.flatten_minutes

    def deadlines(session: Session) -> tuple[int | None, int | None]:
        firms_own = (None, None) if pack is None else firms.deadlines(pack, session)
        ours = [None if minutes is None else session.close_ns - minutes * _MINUTE_NS for minutes in own]
        first, last = (
            min((each for each in pair if each is not None), default=None) for pair in zip(firms_own, ours, strict=True)
        )
        return first, last

    return deadlines


@dataclass(frozen=True, slots=True)
class _Venue:
    """Where orders go, and what tells of them."""

    broker: Broker
    feed: AccountFeed
    account: Account
    paper: PaperVenue | None = None


@asynccontextmanager
async def execution(
    settings: Settings,
    database: DBHandler,
    mode: str,
    leases: Leases,
    *,
    hub: HubParams | None = None,
    params: ExecuteParams | None = None,
) -> AsyncIterator[Execution]:
    """Build execution of the settings' account; run it inside the context, while its lease is held.

    Args:
        settings: in force.
        database: where decisions are, and records are kept.
        mode: paper or live.
        leases: hold that of ``account_name``; what is written and sent depends on it.
        hub: how the hubs are listened to.
        params: how often what is looked at.

    Raises:
        ConfigurationError: credentials or contracts are missing, or the account is not there.
        StorageError: the database does not answer.
        LeaseLost: another process trades the account.
        GatewayError: the gateway does not answer.
    """
    name = account_name(settings, mode)
    own = database.fenced(leases.fence([name]))
    chosen, store = settings.execution, ExecutionStore(own)
    gateway = replace(wiring.gateway_params(settings), timeout_s=chosen.answer_seconds, attempts=_ATTEMPTS)
    calendar_of = calendars_of(settings)
    async with GatewayClient(gateway) as client:
        urls = settings.gateway.endpoints()
        if mode == "live":
            account = await _account(client, chosen.account or "")
            user_feed = UserFeed(client, urls.user_hub_url, [account.account_id], params=hub)
            venue = _Venue(client, user_feed, account)
        else:
            venue = await _paper(settings, client, calendar_of, own)
        longest_s = min(chosen.answer_seconds, leases.seconds / 2) if venue.paper is None else None
        venue = replace(venue, broker=LeasedBroker(venue.broker, leases, name, longest_s))
        # The venue's own time, running on between what is heard: a deadline must not hang on this machine's clock.
        speed = settings.ingest.replay_speed if settings.ingest.clock == "stream" else 1.0
        clock = MarketClock("stream", speed) if venue.paper is None else venue.paper.pace
        kept = await _kept(store, venue, mode, 0 if settings.ingest.clock == "stream" else time.time_ns())

        def feed_of(contracts: Sequence[str]) -> TradeFeed:
            return MarketFeed(client, urls.market_hub_url, contracts, params=hub)

        service = await _service(settings, store, venue, clock, kept, feed_of, calendar_of, params)
        service.bell = Doorbell(database, CHANNELS)
        yield service


def calendars_of(settings: Settings) -> Callable[[str], SessionCalendar]:
    """Return what tells a contract's sessions."""
    named = {each.code: each.calendar for each in settings.products}
    named |= {each.id: each.calendar for each in settings.contracts}

    def calendar_of(contract_id: str) -> SessionCalendar:
        names = contract_id, *names_of(contract_id)
        return calendar_for_contract(contract_id, next(filter(None, map(named.get, names)), None))

    return calendar_of


async def _service(
    settings: Settings,
    store: ExecutionStore,
    venue: _Venue,
    clock: Clock,
    kept: KeptAccount,
    feed_of: Callable[[Sequence[str]], TradeFeed],
    calendar_of: Callable[[str], SessionCalendar],
    params: ExecuteParams | None,
) -> Execution:
    chosen, pack = settings.execution, firm_rules(settings)
    book = AccountBook(kept.account_id, kept.since_ns)
    services: list[Execution] = []

    def ring(contract_id: str) -> None:
        for each in services:
            each.ring(contract_id)

    keeper = Bookkeeper(kept.account, book, store, venue.broker.contract, ring)
    orders, fills = await store.orders(kept.account), await store.fills(kept.account)
    traded = [*(each.contract_id for each in orders), *(each.contract_id for each in fills)]
    for contract_id in dict.fromkeys([*kept.held_before, *traded]):
        book.know(await venue.broker.contract(contract_id), kept.held_before.get(contract_id, ()))
    keeper.load(orders, fills)
    dealer = Dealer(
        book, deal_params(settings), pack, settings.risk.limits(), kept.start_balance, clock.now_ns, calendar_of,
        deadlines_of(settings, pack), settings.risk.highest_end_of_day, settings.risk.paid_out,
    )  # fmt: skip
    deal = Dealing(kept.account, dealer, venue.broker, store, keeper, clock)
    dealer.entries_ns = [
        each.intended_ns for each in orders
        if each.role is Role.ENTRY and each.intended_ns is not None and each.intended_ns > time.time_ns() - _DAY_NS
    ]  # fmt: skip
    dealer.days = {each.trade_date: each for each in await store.days(kept.account)}
    service = Execution(
        deal, store, None, settings.coordinator.name, venue.feed, feed_of,
        [each.id for each in settings.contracts], await store.wishes(kept.account), orders, kept.last_decision_number,
        venue.paper, params or ExecuteParams(chosen.poll_seconds, reconcile_s=chosen.reconcile_seconds),
    )  # fmt: skip
    if venue.paper is not None:
        dealer.prices |= venue.paper.prices()
    service.blocked_before(kept.blocked, kept.blocked_until_ns)
    services.append(service)
    return service


def deal_params(settings: Settings) -> DealParams:
    """Return how orders are made and looked after."""
    chosen = settings.execution
    return DealParams(
        chosen.stop_ticks, chosen.target_ticks, chosen.sizing(), chosen.brackets == "venue", chosen.foreign,
        chosen.fee_per_side, chosen.bracket_grace_seconds, lookup_s=chosen.lookup_seconds,
        protect_s=chosen.protect_seconds,
    )  # fmt: skip


def account_of(settings: Settings, account: str | None = None) -> str:
    """Return whose records are meant: the account named, else that of the settings."""
    return account_name(settings, settings.execution.mode) if account is None else account


def account_name(settings: Settings, mode: str) -> str:
    """Return the name of an account's records and of its lease; paper and live never share one."""
    chosen = settings.execution
    return chosen.account or "" if mode == "live" else chosen.paper_account


async def _account(client: GatewayClient, name: str) -> Account:
    accounts = await client.accounts(only_active=False)
    found = [each for each in accounts if each.name == name]
    if len(found) != 1:
        names = ", ".join(each.name for each in accounts) or "none"
        raise ConfigurationError(f"execution.account {name!r} is not one of this user's accounts ({names}); name one")
    if not found[0].can_trade:
        raise ConfigurationError(f"execution.account {name!r} cannot trade; look at it on the platform")
    return found[0]


async def _paper(
    settings: Settings, client: GatewayClient, calendar_of: Callable[[str], SessionCalendar], database: DBHandler
) -> _Venue:
    chosen = settings.execution
    model = FillModel(slippage_ticks=chosen.paper_slippage_ticks)
    deadlines, contracts = deadlines_of(settings, firm_rules(settings)), [each.id for each in settings.contracts]

    def edge_after(now_ns: int) -> int | None:
        sessions = (
            session for each in contracts for session in calendar_of(each).sessions_between(now_ns, now_ns + _WEEK_NS)
        )
        edges = (edge for each in sessions for edge in (each.open_ns, each.close_ns, *deadlines(each)))
        return min((edge for edge in edges if edge is not None and edge > now_ns), default=None)

    wall_ns = None if settings.ingest.clock == "stream" else time.time_ns
    paper = PaperVenue(
        chosen.paper_account, chosen.paper_balance, chosen.fee_per_side, model, client.contract, calendar_of, database,
        pace=Pace(chosen.paper_delay_seconds, edge_after, wall_ns),
        latency_ns=chosen.paper_latency_ms * NS_PER_SECOND // 1_000,
    )  # fmt: skip
    await paper.restore()
    return _Venue(paper, paper, (await paper.accounts())[0], paper)


async def _kept(store: ExecutionStore, venue: _Venue, mode: str, since_ns: int) -> KeptAccount:
    """Return the account as it is kept; one that was never traded begins with what it has now.

    Args:
        store: where it is kept.
        venue: where it is.
        mode: paper or live.
        since_ns: where the book of a new account begins; 0 takes in all there ever was.

    Raises:
        ConfigurationError: what is kept is of the other mode.
    """
    name, account_id = venue.account.name, venue.account.account_id
    kept = await store.account(name)
    if kept is not None:
        if kept.mode != mode:
            raise ConfigurationError(
                f"the records of account {name!r} are of trading {kept.mode}, and shall not become {mode}; "
                "give the paper account another name with execution.paper_account, or use another database"
            )
        return kept
    fills = await venue.broker.fills(account_id, since_ns)
    held: dict[str, tuple[Lot, ...]] = {}
    for position in await venue.broker.positions(account_id) if since_ns else ():
        contract = await venue.broker.contract(position.contract_id)
        ticks = PriceGrid(contract.tick_size).nearest(position.average_price)
        held[position.contract_id] = (Lot(position.net, ticks, since_ns, 0),)
    balance = venue.account.balance - sum((_made(fill) for fill in fills if not fill.voided), Decimal(0))
    return await store.open(KeptAccount(name, account_id, mode, since_ns, balance, held))


def _made(fill: Fill) -> Decimal:
    return (fill.profit or Decimal(0)) - fill.fees


def check_watchdog(settings: Settings, environ: Mapping[str, str]) -> None:
    """Refuse settings that name no live account to look after.

    Raises:
        ConfigurationError: there is none, or trading it is not allowed; a line for each fault.
    """
    if settings.execution.mode != "live":
        raise ConfigurationError(
            "execution.mode is paper: the paper account lives in the program that trades it, and ends with it; the "
            "watchdog looks after a live account"
        )
    check_mode(settings, None, environ)


@asynccontextmanager
async def watchdog(settings: Settings, params: WatchdogParams | None = None) -> AsyncIterator[Watchdog]:
    """Build the watchdog of the settings' live account; the database is asked for the kill switch where it has a URL.

    Raises:
        ConfigurationError: credentials are missing, or the account is not there.
        GatewayError: the gateway does not answer.
    """
    chosen, clock = settings.watchdog, MarketClock("system")
    calendar_of, deadlines = calendars_of(settings), deadlines_of(settings, firm_rules(settings))

    def must_go(contract_id: str) -> str:
        try:
            found = calendar_of(contract_id).locate(clock.now_ns())
        except InvalidInput:
            return ""  # of a product whose sessions are not known there is no deadline
        flat_ns = None if found is None else deadlines(found[1])[1]
        return "" if flat_ns is None or clock.now_ns() < flat_ns else "the deadline of this session has come"

    gateway = replace(wiring.gateway_params(settings), timeout_s=settings.execution.answer_seconds, attempts=_ATTEMPTS)
    async with GatewayClient(gateway) as client, AsyncExitStack() as opened:
        stores: list[ExecutionStore] = []

        async def killed() -> KillSwitch:
            if not stores:  # the database may come after the watchdog
                stores.append(ExecutionStore(await opened.enter_async_context(wiring.database(settings))))
            return await stores[0].kill_switch()

        account = await _account(client, settings.execution.account or "")
        yield Watchdog(
            account.account_id, client, must_go, None if settings.database.url is None else killed,
            params or WatchdogParams(chosen.every_seconds, chosen.bare_seconds),
        )  # fmt: skip
