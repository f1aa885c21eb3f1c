"""Whatever order news of orders and fills comes in, twice or late: the book says the same, and it is right."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from escapement.core.execution import AccountBook, Holding, OrderRecord, Role, number_of, role_of, tag
from escapement.core.execution.tags import decision_of
from escapement.model import Contract, Fill, Order, OrderSide, OrderStatus, OrderType

ACCOUNT = 7
MES = Contract(
    "CON.F.US.MES.M25", "MESM5", "", Decimal("0.25"), Decimal("1.25"), active=True, symbol_id="F.US.MES"
)  # fmt: skip
ORDER = Order(
    1, ACCOUNT, MES.contract_id, 1_000, 1_000, OrderStatus.PENDING, OrderType.STOP, OrderSide.SELL, 3,
    stop_price=5_700.0, custom_tag="ESC-ab-S1",
)  # fmt: skip


@st.composite
def observations(draw: st.DrawFn) -> Order:
    """What anyone may say of one order, sense or nonsense."""
    return structs.replace(
        ORDER, updated_ns=draw(st.none() | st.integers(1, 5)), status=draw(st.sampled_from(OrderStatus)),
        size=draw(st.integers(1, 3)), filled_size=draw(st.integers(0, 3)),
        filled_price=draw(st.none() | st.sampled_from([5_700.0, 5_700.25])),
        stop_price=draw(st.sampled_from([5_700.0, 5_690.0])), side=draw(st.sampled_from(OrderSide)),
        custom_tag=draw(st.sampled_from([None, "ESC-ab-S1"])),
    )  # fmt: skip


@given(
    st.lists(observations(), min_size=1, max_size=6).flatmap(
        lambda each: st.tuples(st.just(each), st.permutations(each))
    )
)
def test_what_is_known_of_an_order_does_not_depend_on_the_order_of_its_news(
    news: tuple[list[Order], list[Order]],
) -> None:
    told, otherwise = (reduce(OrderRecord.joined, map(OrderRecord.of, each)) for each in news)
    assert told == otherwise
    assert told.order == otherwise.order
    assert told.faults == otherwise.faults


@given(st.lists(observations(), min_size=1, max_size=4), st.lists(observations(), min_size=1, max_size=4))
def test_hearing_it_again_changes_nothing(first: list[Order], second: list[Order]) -> None:
    one, other = (reduce(OrderRecord.joined, map(OrderRecord.of, each)) for each in (first, second))
    both = one.joined(other)
    assert both.joined(one) == both == both.joined(both)


MOVED = structs.replace(ORDER, status=OrderStatus.OPEN, size=2, stop_price=5_690.0)
LIFE = [
    structs.replace(ORDER, updated_ns=1),
    structs.replace(ORDER, updated_ns=2, status=OrderStatus.OPEN),
    structs.replace(MOVED, updated_ns=3),
    structs.replace(MOVED, updated_ns=4, filled_size=1, filled_price=5_690.0),
    structs.replace(MOVED, updated_ns=5, status=OrderStatus.FILLED, filled_size=2, filled_price=5_689.5),
]


@given(st.integers(1, len(LIFE)).flatmap(lambda count: st.permutations(LIFE[:count] * 2)))
def test_an_order_stands_as_the_last_of_its_life_says_and_nothing_is_reported(news: list[Order]) -> None:
    last = max(news, key=lambda order: order.updated_ns or 0)
    record = reduce(OrderRecord.joined, map(OrderRecord.of, news))
    assert record.order == last
    assert record.faults == ()


def test_two_ends_of_one_order_are_reported_and_not_guessed_over() -> None:
    filled = structs.replace(ORDER, updated_ns=5, status=OrderStatus.FILLED, filled_size=3)
    cancelled = structs.replace(ORDER, updated_ns=6, status=OrderStatus.CANCELLED)
    for news in ((filled, cancelled), (cancelled, filled)):
        book = AccountBook(ACCOUNT)
        for order in news:
            book.see_order(order)
        assert book.faults() == {"order 1": "it ended as cancelled and as filled"}


@st.composite
def fills(draw: st.DrawFn) -> list[Fill]:
    """Fills of one contract as a venue numbers them."""
    return [
        Fill(
            number, ACCOUNT, MES.contract_id, draw(st.integers(1, 3)), 1_000_000 * (number // 2),
            draw(st.sampled_from(OrderSide)), size := draw(st.integers(1, 4)),
            5_700 + 0.25 * draw(st.integers(-20, 20)), Decimal("0.61") * size, None, draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 8)))
    ]  # fmt: skip


def transcript(told: list[Fill]) -> tuple[int, Fraction, Decimal]:
    """The position, the profit and the fees by a queue of single contracts."""
    queue: list[tuple[int, Fraction]] = []
    made, fees = Fraction(0), Decimal(0)
    for fill in sorted(told, key=lambda each: (each.at_ns, each.fill_id)):
        if fill.voided:
            continue
        fees += fill.fees
        sign = 1 if fill.side is OrderSide.BUY else -1
        for _ in range(fill.size):
            if queue and queue[0][0] == -sign:
                _, paid = queue.pop(0)
                made += -sign * (Fraction(fill.price) - paid)
            else:
                queue.append((sign, Fraction(fill.price)))
    return sum(sign for sign, _ in queue), made, fees


@given(fills().flatmap(lambda told: st.tuples(st.just(told), st.permutations(told + told))))
def test_a_holding_is_what_single_contracts_come_to_in_whatever_order_they_are_told(
    news: tuple[list[Fill], list[Fill]],
) -> None:
    told, otherwise = news
    holding = Holding(MES)
    for fill in otherwise:
        holding.see(fill)
    net, made, fees = transcript(told)
    assert holding.net == net
    assert holding.money == Decimal(made.numerator) / made.denominator / MES.tick_size * MES.tick_value
    assert holding.fees == fees
    assert holding.faults == {}
    assert sum(trip.ticks for trip in holding.trips) == holding.ticks
    open_fees = sum((lot.fees for lot in holding.lots), Decimal(0))
    assert abs(sum((trip.fees for trip in holding.trips), open_fees) - fees) < Decimal("1e-20")


@given(fills().flatmap(lambda told: st.tuples(st.just(told), st.sets(st.integers(0, 7)), st.permutations(told))))
def test_a_fill_that_is_voided_later_is_as_if_it_had_never_been(news: tuple[list[Fill], set[int], list[Fill]]) -> None:
    told, voided, otherwise = news
    late, known = Holding(MES), Holding(MES)
    for fill in told:
        late.see(fill)
    for fill in otherwise:
        if fill.fill_id in voided:
            late.see(structs.replace(fill, voided=True))
    for fill in told:
        known.see(structs.replace(fill, voided=True) if fill.fill_id in voided else fill)
    assert (late.lots, late.trips, late.money, late.fees) == (known.lots, known.trips, known.money, known.fees)


def test_a_fill_told_with_other_contents_is_reported() -> None:
    fill = Fill(1, ACCOUNT, MES.contract_id, 1, 1_000, OrderSide.BUY, 1, 5_700.0, Decimal(0), None, voided=False)
    for news in ((fill, structs.replace(fill, size=2)), (structs.replace(fill, size=2), fill)):
        holding = Holding(MES)
        for each in news:
            holding.see(each)
        assert holding.net == 1
        assert holding.faults == {1: "fill 1 was told of with different contents"}


def test_what_is_left_of_a_close_that_went_too_far_is_ours() -> None:
    book = AccountBook(ACCOUNT)
    book.know(MES)
    book.see_fill(
        Fill(1, ACCOUNT, MES.contract_id, 7, 1_000, OrderSide.SELL, 1, 5_690.0, Decimal(0), None, voided=False)
    )
    assert book.foreign_net(MES.contract_id) == -1
    book.closers.add(7)
    assert book.foreign_net(MES.contract_id) == 0


@given(st.permutations([*LIFE, *LIFE]), st.booleans())
def test_what_is_held_is_not_known_until_the_fills_of_an_order_are_there(news: list[Order], before: bool) -> None:  # noqa: FBT001 - drawn
    book = AccountBook(ACCOUNT)
    book.know(MES)
    two = [
        Fill(
            number, ACCOUNT, MES.contract_id, 1, 1_000 + number, OrderSide.SELL, 1, 5_690.0, Decimal(0), None,
            voided=False,
        )
        for number in (1, 2)
    ]  # fmt: skip
    for fill in two if before else ():
        book.see_fill(fill)
    for order in news:
        book.see_order(order)
    assert book.awaits_fills(MES.contract_id) is not before
    for fill in two:
        book.see_fill(fill)
    assert not book.awaits_fills(MES.contract_id)
    assert book.net(MES.contract_id) == -2
    assert book.foreign_net(MES.contract_id) == 0


@given(
    st.text("0123456789abcdef", min_size=1, max_size=32),
    st.sampled_from([Role.ENTRY, Role.STOP, Role.TARGET]),
    st.integers(0, 999),
)
def test_a_tag_tells_what_its_order_is_for(decision_id: str, role: Role, number: int) -> None:
    name = tag(decision_id, role, number)
    assert (role_of(name), decision_of(name), number_of(name)) == (role, decision_id[:16], number)
    assert role_of(f"{name}-SL") is Role.STOP
    assert role_of(f"{name}-TP") is Role.TARGET


@given(st.text(max_size=30))
def test_tags_of_others_are_foreign(text: str) -> None:
    assert role_of(text) is Role.FOREIGN
    assert role_of(None) is Role.FOREIGN
