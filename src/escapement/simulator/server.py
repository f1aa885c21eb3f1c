"""A ProjectX gateway on localhost: REST and both hubs on one port, and the replay behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from types import TracebackType
from typing import Literal, Self

import structlog
from aiohttp import web

from escapement.calendars import calendar_for_contract
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND, Trade
from escapement.moments import iso_from_ns
from escapement.simulator.admin import steer
from escapement.simulator.config import SimulatorConfig
from escapement.simulator.contracts import contract_facts
from escapement.simulator.door import Door
from escapement.simulator.faults import Fault, FaultPlan
from escapement.simulator.history import History
from escapement.simulator.hubs import Ending, Hub, HubTimings
from escapement.simulator.market import MarketData
from escapement.simulator.replay import Moment, VirtualClock, moments
from escapement.simulator.rest import Desk
from escapement.simulator.statefile import read_state, write_state
from escapement.simulator.users import UserData
from escapement.simulator.venue import Listing, Venue

log = structlog.get_logger(service="simulator")

_STATE_EACH_S = 1.0
_BREATHE_EACH = 2_000


@dataclass(slots=True)
class Progress:
    """How far the replay has come."""

    now_ns: int
    trades: int = 0
    volume: int = 0


class Simulator:
    """The venue; use it with ``async with``. Its replay runs in the background and sets ``finished`` at its end.

    Args:
        config: what is simulated.
        trades: in order of time; only of the configured contracts. They are taken as they come due.

    Raises:
        InvalidInput: no trades, an unknown product without a calendar, a first trade outside every session, or a state
            file that cannot be used.
    """

    def __init__(self, config: SimulatorConfig, trades: Iterable[Trade]) -> None:
        stream = iter(trades)
        first = next(stream, None)
        if first is None:
            raise InvalidInput("there are no trades to replay; name a file with rows or a synthetic session")
        self._config = config
        self._trades: Iterator[Trade] = chain((first,), stream)
        facts = {contract.contract_id: contract for contract in config.contracts}
        self._listings = {
            contract_id: Listing(
                facts.get(contract_id) or contract_facts(contract_id),
                calendar_for_contract(contract_id, config.calendar),
            )
            for contract_id in config.contract_ids
        }
        self._histories = {
            contract_id: History(
                listing.calendar,
                hour_rule=config.hour_rule,
                minutes_since_ns=config.minutes_since_ns.get(contract_id, 0),
            )
            for contract_id, listing in self._listings.items()
        }
        begin_ns = config.begin_ns or self._opening(first)
        self._venue = Venue(self._listings, config.account_specs(), begin_ns, config.fills, config.rules)
        self._resume_ns = self._restored(begin_ns)
        self._clock = VirtualClock(self._venue.now_ns, config.speed)
        self.faults = FaultPlan(config.faults, config.seed, max(begin_ns, first.at_ns))
        self._market = MarketData(self._venue, self.faults)
        self._users = UserData(self._venue, self.faults, wrapped=config.wrap_events)
        timings = HubTimings(
            config.ping_s, config.handshake_s, client_silence_s=config.client_silence_s, stuck_s=config.stuck_s,
            strict_version=config.strict_version,
        )  # fmt: skip
        self._hubs = {
            "market": Hub("market", self._market.methods(), timings),
            "user": Hub("user", self._users.methods(), timings),
        }
        desk = Desk(self._venue, self._histories, self.faults, config.front_since_ns)
        self._door = Door(config, desk.endpoints(), self._hubs, self.faults, self._after_call, lambda: self.now_ns)
        self._latest: dict[str, Trade] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self.progress = Progress(self._clock.now_ns)
        self.finished = asyncio.Event()
        self.base_url = ""

    async def __aenter__(self) -> Self:
        if self._config.state_file is not None:
            # At once, so that a place that cannot be written is known before anybody trades.
            write_state(self._config.state_file, self._venue.plain())
        app = web.Application(client_max_size=1024 * 1024)
        app.router.add_route("POST", "/simulator/{action}", self._steer)
        app.router.add_route("*", "/{path:.*}", self._door.handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._config.host, self._config.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise InvalidInput(f"port {self._config.port}: {error.strerror}; choose another, or 0 for any") from error
        self.base_url = f"http://{self._config.host}:{self._runner.addresses[0][1]}"
        self._tasks = [asyncio.create_task(self._run())]
        if self._config.state_file is not None:
            self._tasks.append(asyncio.create_task(self._keep_state()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        for hub in self._hubs.values():
            await hub.end_all("close")
        if self._runner is not None:
            await self._runner.cleanup()
        if self._config.state_file is not None:
            write_state(self._config.state_file, self._venue.plain())
        for outcome in outcomes:
            if isinstance(outcome, Exception) and error is None:
                raise outcome

    @property
    def market_hub_url(self) -> str:
        """Where the market hub is."""
        return f"{self.base_url}/hubs/market"

    @property
    def user_hub_url(self) -> str:
        """Where the user hub is."""
        return f"{self.base_url}/hubs/user"

    @property
    def now_ns(self) -> int:
        """The venue's time, nanoseconds UTC."""
        return self._venue.now_ns

    @property
    def venue(self) -> Venue:
        """Accounts, orders and quotes: what really happened."""
        return self._venue

    @property
    def end_ns(self) -> int:
        """The virtual time at which the replay ends, as far as it is known: a second after the last session's close."""
        ends = []
        for trade in self._latest.values():
            found = self._listing(trade).calendar.locate(trade.at_ns)
            ends.append(trade.at_ns if found is None else found[1].close_ns + NS_PER_SECOND)
        return max(ends, default=self._clock.now_ns)

    @property
    def has_failed(self) -> bool:
        """Whether the replay ended early; leaving the ``async with`` block raises the reason."""
        return any(task.done() and not task.cancelled() and task.exception() is not None for task in self._tasks)

    def pause(self) -> None:
        """Stop the virtual clock."""
        self._clock.pause()

    def resume(self) -> None:
        """Let the virtual clock run on."""
        self._clock.resume()

    def step(self, trades: int = 1) -> None:
        """Pause, and go on by so many trades."""
        self._clock.step(trades)

    def set_speed(self, speed: float | None) -> None:
        """Run so many times as quick as real time from here; None as quick as clients take it."""
        self._clock.set_speed(speed)

    async def end_connections(self, how: Ending, hub: Literal["market", "user"] | None = "market") -> int:
        """End every connection of a hub, or of both: reset the socket, or close with or without leave to come back."""
        return sum([await each.end_all(how) for each in self._hubs.values() if hub in {None, each.name}])

    def expire_tokens(self) -> None:
        """Refuse every token given out so far."""
        self._door.tokens.expire_all()

    def freeze(self, *, pings: bool = False) -> None:
        """Let the connections that are open now fall silent with open sockets; what they would get is lost."""
        for hub in self._hubs.values():
            hub.silence("data" if pings else "all")

    def thaw(self) -> None:
        """Let silent connections that still live speak again."""
        for hub in self._hubs.values():
            hub.silence(None)

    def inject(self, fault: Fault) -> None:
        """Arm a fault; its ``after_s`` counts from now."""
        self.faults.add(fault, from_ns=self.now_ns)

    def _restored(self, begin_ns: int) -> int:
        """Take up kept state; return the time up to which trades were replayed before."""
        if self._config.state_file is None or not self._config.state_file.exists():
            return begin_ns if self._config.begin_ns is not None else 0
        self._venue.restore(read_state(self._config.state_file))
        return self._venue.now_ns

    async def _run(self) -> None:
        try:
            wanted = set(self._config.contract_ids)
            waiting = await self._passed()
            if self._config.audience != "ignore":
                await self._subscribed(wanted, self._config.settle_s)
            async for moment in moments(self._clock, waiting, lambda: self.end_ns):
                if self._config.audience == "always" and not self._all_subscribed(wanted):
                    await self._subscribed(wanted, None)
                    self._clock.start()  # the time nobody listened did not pass
                await self._happen(moment)
                await asyncio.sleep(0)
            await self._hubs["market"].publish(self._market.last_word(self._clock.now_ns))
            await self._hubs["market"].drain()
            log.info("replay_finished", trades=self.progress.trades)
        finally:
            self.finished.set()

    async def _passed(self) -> Iterator[Trade]:
        """Take what was before the beginning into history; return the rest."""
        restored = self._config.state_file is not None and self._resume_ns > 0
        for count, trade in enumerate(self._trades):
            if trade.at_ns > self._resume_ns or (trade.at_ns == self._resume_ns and not restored):
                return chain((trade,), self._trades)
            self._listing(trade)
            self._histories[trade.contract_id].add(trade)
            self._latest[trade.contract_id] = trade
            if not restored:
                self._venue.on_trade(trade)
            if count % _BREATHE_EACH == 0:
                await asyncio.sleep(0)
        return iter(())

    async def _happen(self, moment: Moment) -> None:
        for trade in moment.trades:
            self._listing(trade)
            self._venue.on_trade(trade)
            self._histories[trade.contract_id].add(trade)
            self._latest[trade.contract_id] = trade
            self.progress.volume += trade.volume
        self.progress.trades += len(moment.trades)
        self._venue.now_ns = max(self._venue.now_ns, moment.now_ns)
        self.progress.now_ns = self._venue.now_ns
        await self._market.publish(self._hubs["market"], self._venue.now_ns, moment.trades)
        if not self.faults.is_idle:
            await self._act_up()
        self._users.publish(self._hubs["user"])

    async def _act_up(self) -> None:
        """Let the faults strike that belong to no batch and no call."""
        now_ns = self._venue.now_ns
        for name, hub in self._hubs.items():
            if hub.connections:
                endings: tuple[tuple[str, Ending], ...] = (
                    ("reset", "reset"), ("disconnect", "close"), ("disconnect_for_good", "close_for_good"),
                )  # fmt: skip
                for kind, how in endings:
                    if self.faults.strikes(now_ns, kind, hub=name):
                        await hub.end_all(how)
                for fault in self.faults.strikes(now_ns, "freeze", hub=name):
                    self._freeze(hub, fault)
        if self.faults.strikes(now_ns, "expired_tokens"):
            self.expire_tokens()
        newest = max((each.trades[-1].trade_id for each in self._venue.accounts.values() if each.trades), default=None)
        if newest is not None and self.faults.strikes(now_ns, "voided_trade"):
            self._venue.void(newest)

    def _freeze(self, hub: Hub, fault: Fault) -> None:
        connections = list(hub.connections)
        hub.silence("data" if fault.pings else "all")
        if fault.seconds is not None:

            def thaw() -> None:
                for connection in connections:
                    connection.silent = None

            asyncio.get_running_loop().call_later(fault.seconds, thaw)

    async def _subscribed(self, wanted: set[str], settle_s: float | None) -> None:
        """Return when every contract has those who subscribe to its trades, or nobody new has come for a while."""
        hub = self._hubs["market"]
        while not self._all_subscribed(wanted):
            anybody = any(kind == "trades" for kind, _ in hub.wanted)
            hub.changed.clear()
            try:
                async with asyncio.timeout(settle_s if anybody else None):
                    await hub.changed.wait()
            except TimeoutError:
                return

    def _all_subscribed(self, wanted: set[str]) -> bool:
        topics = self._hubs["market"].wanted
        return all(topics["trades", contract_id] >= self._config.listeners for contract_id in wanted)

    async def _steer(self, request: web.Request) -> web.Response:
        return await steer(self, request)

    def _after_call(self) -> None:
        self._users.publish(self._hubs["user"])

    async def _keep_state(self) -> None:
        file = self._config.state_file
        kept = None
        while file is not None:
            await asyncio.sleep(_STATE_EACH_S)
            state = self._venue.plain()
            if state == kept:
                continue
            try:
                await asyncio.to_thread(write_state, file, state)
                kept = state
            except InvalidInput as error:
                log.error("state_not_kept", reason=str(error))  # noqa: TRY400 - the message says it all

    def _listing(self, trade: Trade) -> Listing:
        listing = self._listings.get(trade.contract_id)
        if listing is None:
            raise InvalidInput(f"contract {trade.contract_id!r} of a trade is not among the simulated contracts")
        return listing

    def _opening(self, first: Trade) -> int:
        found = self._listing(first).calendar.locate(first.at_ns)
        if found is None:
            raise InvalidInput(
                f"a trade of {first.contract_id} at {iso_from_ns(first.at_ns)} lies outside every session; name the "
                "right calendar or remove it"
            )
        return found[1].open_ns
