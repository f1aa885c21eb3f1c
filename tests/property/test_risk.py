"""No sequence of fills takes an account through a floor that the checks had approved; a ledger of its own judges."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from escapement.core.risk import (
    AccountState,
    Entry,
    Exposure,
    Market,
    OwnLimits,
    Pack,
    Proposal,
    Stop,
    Trailing,
    check_entry,
    floors,
    largest_size,
)

PRODUCTS = {"MES": (Decimal("1.25"), Decimal("0.61")), "ENQ": (Decimal(5), Decimal("2.40"))}
MARKET = Market(now_ns=10**12, is_open=True, price_ns=10**12)
START = Decimal(50_000)


@dataclass
class Lot:
    """Contracts held, with the stop that protects them."""

    product: str
    side: int
    size: int
    paid: int
    stop: int


@dataclass
class Ledger:
    """An account as a clerk would keep it: one line a fill."""

    balance: Decimal = START
    day_start: Decimal = START
    highest_day: Decimal = START
    last_day: Decimal = START
    highest: Decimal = START
    lots: list[Lot] = field(default_factory=list)
    working: list[tuple[str, int, int, int]] = field(default_factory=list)  # product, side, size, stop distance

    def state(self) -> AccountState:
        exposures = []
        for product, (value, fee) in PRODUCTS.items():
            own = [lot for lot in self.lots if lot.product == product]
            entries = [(side * size, stop) for name, side, size, stop in self.working if name == product]
            exposures.append(Exposure(
                product, product, value, fee, tuple((lot.side * lot.size, lot.paid) for lot in own), None, None,
                tuple(Stop(lot.size, lot.stop) for lot in own), tuple(Entry(*each) for each in entries),
            ))  # fmt: skip
        return AccountState(
            can_trade=True, balance=self.balance, day_start_balance=self.day_start, highest_end_of_day=self.highest_day,
            end_of_day_balance=self.last_day, highest_realised=self.highest, highest_equity=self.highest,
            exposures=tuple(exposures),
        )  # fmt: skip

    def book(self, money: Decimal) -> None:
        self.balance += money
        self.highest = max(self.highest, self.balance)

    def fill(self, which: int, size: int, ticks: int) -> None:
        product, side, left, stop = self.working.pop(which)
        size = min(size, left)
        if size < left:
            self.working.append((product, side, left - size, stop))
        self.lots.append(Lot(product, side, size, ticks, ticks - side * stop))
        self.book(-size * PRODUCTS[product][1])

    def stop_out(self, which: int, slippage: int) -> None:
        lot = self.lots.pop(which)
        value, fee = PRODUCTS[lot.product]
        exit_ticks = lot.stop - lot.side * slippage
        self.book(lot.side * (exit_ticks - lot.paid) * lot.size * value - lot.size * fee)

    def take_profit(self, which: int, ticks: int) -> None:
        lot = self.lots.pop(which)
        value, fee = PRODUCTS[lot.product]
        self.book(ticks * lot.size * value - lot.size * fee)

    def end_day(self) -> None:
        self.last_day = self.day_start = self.balance
        self.highest_day = max(self.highest_day, self.balance)


SLIPPAGE = 3
packs = st.builds(
    Pack, name=st.just("drawn"), title=st.just(""), valid_from=st.just(date(2024, 1, 1)),
    starting_balance=st.just(START), maximum_loss=st.none() | st.integers(50, 3_000).map(Decimal),
    trailing=st.sampled_from([Trailing.FIXED, Trailing.END_OF_DAY, Trailing.REALISED]),
    locks_at=st.none() | st.just(START), daily_loss=st.none() | st.integers(50, 2_000).map(Decimal),
)  # fmt: skip
limits = st.builds(
    OwnLimits, orders_per_minute=st.none(), daily_loss=st.none() | st.integers(50, 2_000).map(Decimal),
    trailing_loss=st.none() | st.integers(50, 2_000).map(Decimal),
    trailing=st.sampled_from([Trailing.END_OF_DAY, Trailing.REALISED]), slippage_ticks=st.just(SLIPPAGE),
)  # fmt: skip
Step = tuple[object, ...]
proposals = st.tuples(
    st.just("propose"), st.sampled_from(sorted(PRODUCTS)), st.sampled_from([1, -1]), st.integers(1, 400),
    st.integers(1, 60),
)  # fmt: skip
fills = st.tuples(st.just("fill"), st.integers(0, 1), st.sampled_from([1, 400]), st.integers(-500, 500))
stops = st.tuples(st.just("stop"), st.integers(0, 3), st.sampled_from([0, SLIPPAGE]))
singles = st.one_of(
    proposals, fills, stops, st.tuples(st.just("profit"), st.integers(0, 9), st.integers(0, 80)),
    st.tuples(st.just("day")),
).map(lambda step: [step])  # fmt: skip
# What hurts most: one contract is held, the other one is entered as large as may be, and both reach their stops.
worst = st.tuples(
    proposals, st.just(("fill", 0, 400, 0)), proposals, st.just(("fill", 0, 400, 0)),
    st.just(("stop", 0, SLIPPAGE)), st.just(("stop", 0, SLIPPAGE)),
).map(list)  # fmt: skip
steps = st.lists(singles | worst, min_size=1, max_size=10).map(lambda parts: [step for part in parts for step in part])


def proposal(product: str, side: int, size: int, stop: int) -> Proposal:
    return Proposal(product, product, side, size, stop, *PRODUCTS[product], MARKET.now_ns, data_complete=True)


@settings(max_examples=300)
@given(packs, limits, steps)
def test_no_fills_take_an_account_through_a_floor_that_was_approved(
    pack: Pack, own: OwnLimits, course: list[Step]
) -> None:
    ledger, has_traded = Ledger(), False
    for kind, *values in course:
        if kind == "propose":
            asked = proposal(*values)  # type: ignore[arg-type] # drawn as such
            # One position a contract, as execution keeps it.
            busy = {lot.product for lot in ledger.lots} | {name for name, *_ in ledger.working}
            # As much as is approved, so that the floors are near.
            size = 0 if asked.product in busy else largest_size(pack, own, ledger.state(), MARKET, asked)
            if size and check_entry(pack, own, ledger.state(), MARKET, replace(asked, size=size)).approved:
                ledger.working.append((asked.product, asked.side, size, asked.stop_ticks or 0))
                has_traded = True
        elif kind == "fill" and ledger.working:
            ledger.fill(values[0] % len(ledger.working), values[1], values[2])  # type: ignore[operator,arg-type]
        elif kind == "stop" and ledger.lots:
            ledger.stop_out(values[0] % len(ledger.lots), values[1])  # type: ignore[operator,arg-type]
        elif kind == "profit" and ledger.lots:
            ledger.take_profit(values[0] % len(ledger.lots), values[1])  # type: ignore[operator,arg-type]
        elif kind == "day" and not ledger.lots and not ledger.working:
            ledger.end_day()
        if has_traded:
            for floor in floors(pack, own, ledger.state()):
                assert ledger.balance > floor.level, floor


@given(
    packs, limits, st.sampled_from(sorted(PRODUCTS)), st.integers(1, 40), st.integers(1, 60), st.integers(-1_500, 1_500)
)
def test_the_largest_size_is_the_largest_that_is_approved(
    pack: Pack, own: OwnLimits, product: str, size: int, stop: int, made: int
) -> None:
    ledger = Ledger(balance=START + made)
    asked = proposal(product, 1, size, stop)
    largest = largest_size(pack, own, ledger.state(), MARKET, asked)
    approved = [
        count for count in range(1, size + 1)
        if check_entry(pack, own, ledger.state(), MARKET, replace(asked, size=count)).approved
    ]  # fmt: skip
    assert approved == list(range(1, largest + 1))


@given(packs, limits, steps)
def test_a_verdict_ends_with_its_only_refusal_and_its_words_hold_its_values(
    pack: Pack, own: OwnLimits, course: list[Step]
) -> None:
    for kind, *values in course:
        if kind == "propose":
            verdict = check_entry(pack, own, Ledger().state(), MARKET, proposal(*values))  # type: ignore[arg-type]
            assert [check.passed for check in verdict.checks[:-1]] == [True] * (len(verdict.checks) - 1)
            assert verdict.approved == verdict.checks[-1].passed == (verdict.refusal is None)
            for check in verdict.checks:
                for value in check.values.values():
                    shown = f"{Decimal(value):.2f}" if check.code.endswith("loss") else str(value)
                    assert (
                        shown in check.words
                        or f"{float(value):g}" in check.words
                        or f"{float(value):.3f}" in check.words
                    )
