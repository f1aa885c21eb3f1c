"""One contract of an account: does what has to be done next, one thing at a time.

Whatever it does, it then waits until the effect shows in the book, and asks the venue when it does not. An order whose
answer was lost is looked for by its tag; until it is found, or long enough was not, nothing else is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from escapement.core.dealing import OTHERS, Situation, product_of
from escapement.core.execution import (
    LAPSED,
    Cancel,
    Case,
    Close,
    Enter,
    OrderNote,
    Protect,
    Resize,
    Role,
    Standing,
    Step,
    Wish,
    tag,
)
from escapement.core.risk import Entry, Verdict
from escapement.errors import GatewayError, GatewayRefused, StorageError
from escapement.model import Contract, Order, OrderRequest, OrderSide, OrderStatus
from escapement.services.dealing import WRITE_S, Dealing
from escapement.services.within import within

log = structlog.get_logger(service="execute")

_LOOK_S, _IDLE_S = 0.2, 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_CLOSED_PAUSE_S = 60.0  # the calendar may be wrong
# Of Position/closeContract: there is nothing to close. Source: the venue's error codes.
_NOTHING_HELD = 2


class Desk:
    """Deals in one contract.

    Args:
        deal: the account.
        contract: what is dealt in.
        wish: what is wished of it, if anything.
        ask: asks the venue for everything and compares; returns when that is done.
        rested: called when there is nothing to do.
    """

    def __init__(
        self,
        deal: Dealing,
        contract: Contract,
        wish: Wish | None,
        ask: Callable[[str], Awaitable[None]],
        rested: Callable[[], None],
    ) -> None:
        self.contract = contract
        self.wish = wish
        self._deal = deal
        self._ask = ask
        self._rested = rested
        self._id = contract.contract_id
        self._product = product_of(contract)
        self._rung = asyncio.Event()
        self._pending: dict[str, tuple[OrderNote, float]] = {}
        self._effect: tuple[Callable[[], bool], float] | None = None
        self._wrong_since: float | None = None
        self._was_asked = False
        self._must_go = self._why = ""
        self._has_told = False
        self._pause_s = self._search_pause_s = _FIRST_PAUSE_S
        self._next_search_s = 0.0
        self.is_stopped = False
        self._is_resting = False

    @property
    def is_resting(self) -> bool:
        """Whether there is nothing to do, until it is rung for or time passes."""
        return self._is_resting and not (self._rung.is_set() and not self.is_stopped)

    @property
    def waits_to_enter(self) -> bool:
        """Whether an entry waits, for a price or for the venue to be known."""
        return self.wish is not None and self.wish.standing is Standing.WAITING and bool(self.wish.direction)

    def ring(self) -> None:
        """Have the contract looked at."""
        self._rung.set()

    def stop(self) -> None:
        """Ask for an end: what is being sent is finished, ``run`` returns."""
        self.is_stopped = True
        self._rung.set()

    def look_for(self, note: OrderNote) -> None:
        """Look for an order that was written down before this program ran, and perhaps sent."""
        self._pending[note.key] = note, time.monotonic()
        if note.role is Role.ENTRY:
            sign = 1 if note.side is OrderSide.BUY else -1
            self._deal.dealer.reserved[self._id] = Entry(sign * note.size, self._deal.params.stop_of(self._product))

    async def run(self) -> None:
        """Deal until ``stop``."""
        try:
            await self._deal_on()
        finally:
            self._is_resting = True
            self._rested()

    async def _deal_on(self) -> None:
        while not self.is_stopped:
            self._rung.clear()
            try:
                acted = await self._work()
            except GatewayRefused as error:
                await self._wait_out(error)
            except (GatewayError, StorageError) as error:
                log.warning("step_failed", contract=self._id, reason=str(error))
                await self._rest(self._pause_s)
                self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
            else:
                if acted:
                    self._pause_s = _FIRST_PAUSE_S
                else:
                    is_waiting = self._pending or self._effect or self._wrong_since or self.waits_to_enter
                    await self._rest(_LOOK_S if is_waiting else _IDLE_S)

    async def _wait_out(self, refusal: GatewayRefused) -> None:
        """Let time pass before what was refused is tried again, whatever rings; more while the market is closed."""
        dealer = self._deal.dealer
        is_closed = bool(dealer.now_ns()) and dealer.session(self._id) is None
        pause_s = _CLOSED_PAUSE_S if is_closed else self._pause_s
        log.warning("step_refused", contract=self._id, reason=str(refusal), closed=is_closed, again_s=pause_s)
        until_s = time.monotonic() + pause_s
        while not self.is_stopped and (left_s := until_s - time.monotonic()) > 0:
            if is_closed and dealer.session(self._id) is not None:
                break
            self._rung.clear()
            await self._rest(min(left_s, _IDLE_S))
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    async def _rest(self, longest_s: float) -> None:
        self._is_resting = True
        self._rested()
        try:
            async with asyncio.timeout(longest_s):
                await self._rung.wait()
        except TimeoutError:
            return
        finally:
            self._is_resting = False

    async def _work(self) -> bool:
        """Do the next thing; return whether there was one."""
        if not (await self._found_pending() and await self._saw_effect()):
            return False
        found = self._situation()
        case = found.case
        if self._must_go and not case.held and not case.working:
            self._must_go = ""
        if (self._why == OTHERS) != self._has_told:
            self._has_told = not self._has_told
            if self._has_told:
                await self._ask("orders or positions of others")  # which writes down that there were any
                return True
        step = found.step
        if isinstance(step, Protect | Resize):
            return await self._is_due(case) and await self._do(step)
        self._wrong_since, self._was_asked = None, False
        return step is not None and await self._do(step)

    async def _saw_effect(self) -> bool:
        """Whether what was done last shows in the book; when it does not for long, the venue is asked."""
        if self._effect is not None:
            shows, until_s = self._effect
            if not shows():
                if time.monotonic() < until_s:
                    return False
                await self._ask("an effect that did not show")
            self._effect = None
        return True

    def _situation(self) -> Situation:
        is_known = self._deal.was_asked and not (self._pending or self._effect)
        found = self._deal.dealer.situation(self._id, self.wish, is_known=is_known, must_go=self._must_go)
        self._why = found.why
        return found

    async def _is_due(self, case: Case) -> bool:
        """Whether protection that is not as it shall be is mended now, or may still come from the venue by itself."""
        now_s = time.monotonic()
        if self._wrong_since is None:
            self._wrong_since = now_s
        wrong_s = now_s - self._wrong_since
        by_venue = self._deal.params.venue_brackets and not self._deal.dealer.brackets_refused
        if by_venue and wrong_s < self._deal.params.bracket_grace_s:
            return False
        if by_venue and not self._was_asked:
            self._was_asked = True
            await self._ask("protection that is not as it shall be")
            return False
        lacks_stop = self._deal.keeper.book.protected(self._id) < abs(case.held)
        if lacks_stop and wrong_s > self._deal.params.protect_s:
            self._must_go = f"it was without its stop for {wrong_s:.0f} s"
            log.error("flattened", contract=self._id, reason=self._must_go)
            return False
        return True

    async def _do(self, step: Step) -> bool:
        deal, book = self._deal, self._deal.keeper.book
        match step:
            case Enter():
                return await self._enter()
            case Protect():
                await self._protect(step)
            case Close():
                net = book.net(self._id)
                log.info("close", contract=self._id, held=net, reason=self._why)
                deal.keeper.closing[self._id] = time.monotonic() + deal.params.lookup_s
                try:
                    await deal.broker.close_position(deal.account_id, self._id, size=step.size)
                except GatewayRefused as error:
                    if error.code != _NOTHING_HELD:
                        raise
                    await self._ask("a position that is not there")
                except GatewayError:
                    self._expect(lambda: book.net(self._id) != net)  # it may be on its way
                    raise
                self._expect(lambda: book.net(self._id) != net)
            case Cancel():
                order_id = step.order.order_id
                await self._change(step.order, deal.broker.cancel_order(deal.account_id, order_id))
                self._expect(lambda: all(each.order_id != order_id for each in book.working(self._id)))
            case Resize():
                order_id, size = step.order.order_id, step.size
                await self._change(step.order, deal.broker.modify_order(deal.account_id, order_id, size=size))
                self._expect(lambda: (order := book.order(order_id)) is None or order.size == size)
        return True

    def _expect(self, shows: Callable[[], bool]) -> None:
        self._effect = shows, time.monotonic() + self._deal.params.effect_s

    async def _change(self, order: Order, changing: Awaitable[None]) -> None:
        """Change an order; where that fails, look at it, for it may have ended meanwhile."""
        try:
            await changing
        except GatewayError as error:
            log.warning("order_unchanged", contract=self._id, order=order.order_id, reason=str(error))
            await self._deal.keeper.see(await self._deal.broker.order(order.account_id, order.order_id))
            still = self._deal.keeper.book.order(order.order_id)
            if isinstance(error, GatewayRefused) and still == order:
                raise  # refused although nothing changed: not at once again

    async def _protect(self, step: Protect) -> None:
        decision_id = self.wish.decision_id if self.wish is not None else "none"
        number = self._deal.keeper.next_number(decision_id, step.role)
        request = self._deal.dealer.protection(self._id, step, tag(decision_id, step.role, number))
        note = OrderNote.intended(request, None if self.wish is None else decision_id)
        try:
            await within(WRITE_S, self._deal.store.intend(self._deal.account, note))
        except (StorageError, TimeoutError) as error:
            # Its tag says what it is for, so that it is known again without having been written down.
            log.warning("unwritten", order=note.key, reason=str(error))
        if await self._send(request, note) is not None and step.role is Role.STOP:
            self._must_go = "its stop was refused"

    async def _enter(self) -> bool:
        wish, deal = self.wish, self._deal
        if wish is None or not deal.is_current or not deal.clock.now_ns():
            return False
        size, verdict = deal.dealer.weigh(self.contract, wish)
        refusal = verdict.refusal
        if refusal is not None and deal.dealer.may_pass(refusal, wish):
            return False
        request = deal.dealer.entry(self.contract, wish, size) if refusal is None else None
        note = None if request is None else OrderNote.intended(request, wish.decision_id)
        if request is not None:
            deal.dealer.reserved[self._id] = Entry(wish.direction * size, deal.params.stop_of(self._product))
        try:
            return await self._settle(wish, size, verdict, request, note)
        finally:
            if not self._pending:
                deal.dealer.reserved.pop(self._id, None)

    async def _settle(
        self, wish: Wish, size: int, verdict: Verdict, request: OrderRequest | None, note: OrderNote | None
    ) -> bool:
        """Write down what became of a wish's entry, and send it when it was approved."""
        deal, refusal = self._deal, verdict.refusal
        settled = await deal.store.settle_entry(deal.account, wish, deal.clock.now_ns(), size, verdict, note)
        if self.wish is not wish:  # a newer decision came while this one was written down
            if settled and note is not None:
                deal.keeper.note(replace(note, status=LAPSED, refusal="a newer decision came before it was sent"))
            return True
        if not settled:
            log.error("entry_not_ours", contract=self._id, decision=wish.decision_id)
        self.wish = replace(wish, standing=Standing.SENT if settled and request is not None else Standing.DROPPED)
        if not settled:
            return True
        if refusal is not None:
            tell = log.info if refusal.code == "already_held" else log.warning
            tell("entry_refused", contract=self._id, decision=wish.decision_id, code=refusal.code,
                        words=refusal.words)  # fmt: skip
        if request is not None and note is not None:
            deal.dealer.entries_ns.append(deal.clock.now_ns())
            refused = await self._send(request, note)
            if refused is not None and request.stop_loss is not None and "bracket" in str(refused).lower():
                await self._enter_bare(wish, size)
        return True

    async def _enter_bare(self, wish: Wish, size: int) -> None:
        """Enter without a bracket, for the account takes none; stop and target follow the fill."""
        log.warning("brackets_refused", contract=self._id)
        self._deal.dealer.brackets_refused = True
        request = self._deal.dealer.entry(self.contract, wish, size, 1)
        note = OrderNote.intended(request, wish.decision_id)
        await self._deal.store.intend(self._deal.account, note)
        await self._send(request, note)

    async def _send(self, request: OrderRequest, note: OrderNote) -> GatewayRefused | None:
        """Send an order that is written down; return the venue's refusal, if it was refused."""
        self._pending[note.key] = note, time.monotonic()
        try:
            order_id = await self._deal.broker.place_order(request)
        except GatewayRefused as error:
            del self._pending[note.key]
            log.warning("order_refused", contract=self._id, order=note.key, reason=str(error))
            if self._deal.keeper.book.tagged(note.key) is None:  # else it is there already, whatever was said
                self._deal.keeper.note(replace(note, status="rejected", refusal=str(error)))
            return error
        except GatewayError as error:
            log.warning("order_unknown", contract=self._id, order=note.key, reason=str(error))
            return None
        del self._pending[note.key]
        log.info("order_accepted", contract=self._id, order=note.key, number=order_id)
        # The venue may tell of it only after we look again; until then this stands for it.
        await self._deal.keeper.see(
            Order(
                order_id, request.account_id, self._id, self._deal.clock.now_ns(), None, OrderStatus.PENDING,
                request.type, request.side, request.size, 0, None, request.limit_price, request.stop_price,
                custom_tag=request.custom_tag,
            )
        )  # fmt: skip
        return None

    async def _found_pending(self) -> bool:
        """Look for orders whose fate is not known; return whether that of all is known now.

        Raises:
            GatewayError: the venue does not answer.
        """
        book = self._deal.keeper.book
        if not self._pending:
            return True
        if any(book.tagged(key) is None for key in self._pending):
            asked_s = time.monotonic()
            if asked_s < self._next_search_s:
                return False
            self._next_search_s = asked_s + self._search_pause_s
            self._search_pause_s = min(self._search_pause_s * 2, _LONGEST_PAUSE_S)
            for order in await self._deal.broker.orders(self._deal.account_id, self._deal.news_from_ns()):
                await self._deal.keeper.see(order)
            for key, (note, sent_s) in list(self._pending.items()):
                if book.tagged(key) is None and asked_s - sent_s > self._deal.params.lookup_s:
                    log.warning("order_lapsed", contract=self._id, order=key)
                    self._deal.keeper.note(replace(note, status=LAPSED, refusal="it never reached the venue"))
                    del self._pending[key]
        for key in [key for key in self._pending if book.tagged(key) is not None]:
            log.info("order_found", contract=self._id, order=key)
            del self._pending[key]
        if self._pending:
            return False
        self._search_pause_s = _FIRST_PAUSE_S
        self._deal.dealer.reserved.pop(self._id, None)
        return True
