"""Whether an entry may be sent: checks in a fixed order, each with what it compared.

| code                  | refuses when                                                                              |
|-----------------------|-------------------------------------------------------------------------------------------|
| account_cannot_trade  | the venue says that the account cannot trade                                              |
| blocked               | trading was stopped, or a loss limit was reached this session                             |
| already_held          | a position is held in the contract                                                        |
| foreign_position      | others hold a position in the contract, which is left alone                               |
| too_small             | one contract would risk more than a trade shall                                           |
| data_incomplete       | the decision was taken on data that was not known to be complete                          |
| decision_stale        | the decision is older than it may be                                                      |
| market_closed         | the market does not trade                                                                 |
| price_stale           | no price was heard, or the last one is older than it may be                               |
| after_deadline        | nothing may be opened any more in this session                                            |
| no_stop               | the entry has no stop, so that its loss has no end                                        |
| order_too_large       | the order has more contracts than an order may have                                       |
| position_too_large    | with it, more contracts or lots could be held than may be                                 |
| too_many_orders       | too many entries were sent in the last minute, or this session                            |
| trade_loss            | the trade could lose more than a trade may                                                |
| unprotected           | something that is held or ordered has no stop, so that the worst case has no end          |
| daily_loss and others | at worst - every entry filled, every stop reached - the account would be at or below a floor |
| opposing_exposure     | another account holds the opposite in the product, or one of its kind                     |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from escapement.core.risk.floors import floors
from escapement.core.risk.limits import OwnLimits, Pack
from escapement.core.risk.state import AccountState, Entry, Exposure, Market, Proposal

_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _SECOND_NS


@dataclass(frozen=True, slots=True)
class Check:
    """One check: whether it passed, in words, with the values it compared."""

    code: str
    passed: bool
    words: str
    values: Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The checks that were made, in order; the last one refused, unless all passed."""

    checks: tuple[Check, ...]

    @property
    def refusal(self) -> Check | None:
        """The check that refused."""
        return next((each for each in self.checks if not each.passed), None)

    @property
    def approved(self) -> bool:
        """Whether all checks passed."""
        return self.refusal is None


@dataclass(frozen=True, slots=True)
class _Question:
    """All that the checks look at."""

    pack: Pack | None
    own: OwnLimits
    account: AccountState
    market: Market
    proposal: Proposal

    @property
    def after(self) -> AccountState:
        """The account as if the entry were working."""
        asked = self.proposal
        entry = Entry(asked.side * asked.size, asked.stop_ticks)
        others = [each for each in self.account.exposures if each.contract_id != asked.contract_id]
        same = next((each for each in self.account.exposures if each.contract_id == asked.contract_id), None)
        own = same or Exposure(asked.contract_id, asked.product, asked.tick_value, asked.fee)
        return replace(self.account, exposures=(*others, replace(own, entries=(*own.entries, entry))))


def check_entry(
    pack: Pack | None, own: OwnLimits, account: AccountState, market: Market, proposal: Proposal
) -> Verdict:
    """Return whether an entry may be sent.

    Args:
        pack: the firm's rules, None without a firm.
        own: the trader's own limits.
        account: as it stands, working orders included.
        market: of the contract.
        proposal: the entry.
    """
    made = []
    for check in _checks(_Question(pack, own, account, market, proposal)):
        made.append(check)
        if not check.passed:
            break
    return Verdict(tuple(made))


def largest_size(pack: Pack | None, own: OwnLimits, account: AccountState, market: Market, proposal: Proposal) -> int:
    """Return the most contracts, up to those proposed, with which the entry may be sent; 0 when with none."""
    least, most = 0, proposal.size
    while least < most:  # a smaller order is never refused where a larger one is approved
        middle = (least + most + 1) // 2
        if check_entry(pack, own, account, market, replace(proposal, size=middle)).approved:
            least = middle
        else:
            most = middle - 1
    return least


def _checks(asked: _Question) -> Iterator[Check]:
    for make in _ORDER:
        yield from make(asked)


def _standing(asked: _Question) -> Iterator[Check]:
    account, proposal = asked.account, asked.proposal
    yield Check("account_cannot_trade", account.can_trade, "the venue lets the account trade"
                if account.can_trade else "the venue does not let the account trade", {})  # fmt: skip
    yield Check(account.blocked_as, not account.blocked, account.blocked or "nothing stops trading", {})
    yield Check(
        "data_incomplete", proposal.data_complete, "the decision was taken on complete data"
        if proposal.data_complete else "the decision was taken on data that was not known to be complete", {},
    )  # fmt: skip


def _times(asked: _Question) -> Iterator[Check]:
    now_ns, own, market = asked.market.now_ns, asked.own, asked.market
    age_s = (now_ns - asked.proposal.known_at_ns) / _SECOND_NS
    yield Check(
        "decision_stale", age_s <= own.oldest_decision_s,
        f"the decision is {age_s:.3f} s old, {own.oldest_decision_s:g} s are allowed",
        {"age_s": age_s, "allowed_s": own.oldest_decision_s},
    )  # fmt: skip
    yield Check("market_closed", market.is_open, "the market is open" if market.is_open else "the market is closed", {})
    if market.price_ns is None:
        yield Check("price_stale", passed=False, words="no price was heard yet", values={})
    else:
        price_s = (now_ns - market.price_ns) / _SECOND_NS
        yield Check(
            "price_stale", price_s <= own.oldest_price_s,
            f"the last price is {price_s:.3f} s old, {own.oldest_price_s:g} s are allowed",
            {"age_s": price_s, "allowed_s": own.oldest_price_s},
        )  # fmt: skip
    if market.no_entries_ns is not None:
        left_s = (market.no_entries_ns - now_ns) / _SECOND_NS
        yield Check(
            "after_deadline", left_s > 0,
            f"entries end in {left_s:.0f} s" if left_s > 0 else f"entries ended {-left_s:.0f} s ago",
            {"left_s": left_s},
        )  # fmt: skip


def _sizes(asked: _Question) -> Iterator[Check]:
    own, proposal, after = asked.own, asked.proposal, asked.after
    yield Check("no_stop", proposal.stop_ticks is not None, f"the stop lies {proposal.stop_ticks} ticks away"
                if proposal.stop_ticks is not None else "the entry has no stop", {})  # fmt: skip
    if own.most_per_order is not None:
        yield _at_most("order_too_large", "the order has {} contracts", proposal.size, own.most_per_order)
    if own.most_contracts is not None:
        reach = sum(each.reach for each in after.exposures)
        yield _at_most("position_too_large", "{} contracts could be held", reach, own.most_contracts)
    pack = asked.pack
    if pack is not None:
        allowed = pack.lots_allowed(asked.account.end_of_day_balance - pack.starting_balance)
        if allowed is not None:
            lots = sum((pack.lots(each.product, each.reach) for each in after.exposures), Decimal(0))
            yield _at_most("position_too_large", f"{{}} lots could be held under {pack.name}", lots, allowed)


def _rates(asked: _Question) -> Iterator[Check]:
    own, now_ns, times = asked.own, asked.market.now_ns, asked.account.entry_times_ns
    if own.orders_per_minute is not None:
        recent = sum(now_ns - at_ns < _MINUTE_NS for at_ns in times)
        yield _at_most("too_many_orders", "{} entries within a minute", recent + 1, own.orders_per_minute)
    if own.orders_per_day is not None:
        yield _at_most("too_many_orders", "{} entries this session", len(times) + 1, own.orders_per_day)


def _losses(asked: _Question) -> Iterator[Check]:
    own, proposal = asked.own, asked.proposal
    each = ((proposal.stop_ticks or 0) + own.slippage_ticks) * proposal.tick_value + 2 * proposal.fee
    if own.trade_loss is not None:
        yield _at_most("trade_loss", "the trade could lose {}", proposal.size * each, own.trade_loss)
    limits = floors(asked.pack, own, asked.account)
    if not limits:
        return
    worst = asked.after.worst_equity(own.slippage_ticks)
    if worst is None:
        yield Check("unprotected", passed=False, words="something held or ordered has no stop", values={})
        return
    for floor in sorted(limits, key=lambda floor: -floor.level):
        yield Check(
            floor.code, worst > floor.level,
            f"at worst the account would have {worst:.2f}, its floor is {floor.level:.2f}",
            {"worst": str(worst), "floor": str(floor.level)},
        )  # fmt: skip


def _elsewhere(asked: _Question) -> Iterator[Check]:
    pack, proposal = asked.pack, asked.proposal
    if pack is None or not pack.no_hedging:
        return
    alike = {proposal.product}.union(*(group for group in pack.correlated if proposal.product in group))
    for account, product, net in asked.account.others:
        if product in alike and net * proposal.side < 0:
            yield Check(
                "opposing_exposure", passed=False, words=f"account {account} holds {net} of {product}",
                values={"account": account, "product": product, "net": net},
            )  # fmt: skip
            return
    yield Check("opposing_exposure", passed=True, words="no other account holds the opposite", values={})


def _at_most(code: str, words: str, value: Decimal | int, most: Decimal | int) -> Check:
    said = f"{value:.2f}" if isinstance(value, Decimal) and code == "trade_loss" else f"{value}"
    return Check(code, value <= most, f"{words.format(said)}, {most} are allowed",
                 {"value": str(value), "allowed": str(most)})  # fmt: skip


_ORDER: Final[tuple[Callable[[_Question], Iterator[Check]], ...]] = (
    _standing, _times, _sizes, _rates, _losses, _elsewhere,
)  # fmt: skip
