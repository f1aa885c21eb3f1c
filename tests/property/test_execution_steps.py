"""From whatever stands, one step after the other leads to rest, and at rest all is as it shall be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from escapement.core.execution import (
    Cancel,
    Case,
    Close,
    Enter,
    Protect,
    Resize,
    Role,
    Standing,
    is_working,
    next_step,
    remaining,
    role_of,
    tag,
)
from escapement.model import Order, OrderSide, OrderStatus, OrderType

TYPES = {Role.ENTRY: OrderType.MARKET, Role.STOP: OrderType.STOP, Role.TARGET: OrderType.LIMIT}


def order(number: int, role: Role, side: OrderSide, size: int, filled: int = 0) -> Order:
    return Order(
        number, 1, "MES", 0, 0, OrderStatus.OPEN, TYPES[role], side, size, min(filled, size - 1),
        limit_price=1.0 if role is Role.TARGET else None, stop_price=1.0 if role is Role.STOP else None,
        custom_tag=tag("ab", role, number),
    )  # fmt: skip


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any position with any orders, however they came about."""
    orders = [
        order(number, draw(st.sampled_from(sorted(TYPES))), draw(st.sampled_from(OrderSide)), draw(st.integers(1, 4)),
              draw(st.integers(0, 3)))
        for number in range(draw(st.integers(0, 4)))
    ]  # fmt: skip
    # Lots of one contract all lie on one side, whoever opened them.
    side, held, foreign = draw(st.sampled_from([1, -1])), draw(st.integers(0, 4)), draw(st.sampled_from([0, 0, 2]))
    return Case(
        held=side * held, foreign=side * foreign,
        direction=draw(st.sampled_from([None, -1, 0, 1])), standing=draw(st.sampled_from(Standing)),
        must_go=draw(st.booleans()), takes_all=draw(st.booleans()), is_known=True, entry_ticks=100, stop_ticks=8,
        target_ticks=draw(st.sampled_from([None, 12])), most=draw(st.integers(1, 4)), working=orders,
    )  # fmt: skip


@dataclass
class Venue:
    """Does what it is asked at once."""

    case: Case
    entered: int = 0

    def do(self, step: object) -> None:
        working = list(self.case.working)
        match step:
            case Enter():
                self.entered += 1
                held = (self.case.direction or 0) * self.case.most
                self.case = replace(self.case, held=held, standing=Standing.SENT)
            case Close(size):
                sign = 1 if self.case.held > 0 else -1
                if size is None:
                    self.case = replace(self.case, held=0, foreign=0)
                else:
                    self.case = replace(self.case, held=self.case.held - sign * size)
            case Cancel(which):
                self.case = replace(self.case, working=[each for each in working if each.order_id != which.order_id])
            case Resize(which, size):
                assert size > which.filled_size
                changed = [
                    structs.replace(each, size=size) if each.order_id == which.order_id else each for each in working
                ]
                self.case = replace(self.case, working=changed)
            case Protect(role, side, size, ticks):
                sign = 1 if self.case.held > 0 else -1
                assert ticks == (100 - sign * 8 if role is Role.STOP else 100 + sign * 12)
                assert size >= 1
                self.case = replace(self.case, working=[*working, order(100 + len(working), role, side, size)])


@given(cases())
def test_steps_lead_to_rest_where_all_is_as_it_shall_be(case: Case) -> None:
    venue = Venue(case)
    for _ in range(40):
        step = next_step(venue.case)
        if step is None:
            break
        venue.do(step)
    else:
        raise AssertionError(f"no rest after forty steps: {venue.case}")
    now = venue.case
    assert venue.entered <= (case.standing is Standing.WAITING and bool(case.direction) and not case.must_go)
    if now.must_go:
        assert not now.held
        assert not now.working
        assert not (now.takes_all and now.foreign)
    elif now.held:
        assert now.direction is None or now.held * now.direction > 0
        assert abs(now.held) <= now.most
        for role in (Role.STOP, Role.TARGET):
            orders = [each for each in now.working if role_of(each.custom_tag) is role and is_working(each)]
            if role is Role.STOP or now.target_ticks is not None:
                assert sum(map(remaining, orders)) == abs(now.held)
            assert all((each.side is OrderSide.SELL) == (now.held > 0) for each in orders)
    else:
        # Stops and targets beside an entry that works may be the legs of its bracket.
        assert not now.working or any(role_of(each.custom_tag) is Role.ENTRY for each in now.working)
        assert now.foreign == case.foreign or case.takes_all


@given(cases())
def test_nothing_is_done_while_it_is_not_known_what_is_held(case: Case) -> None:
    assert next_step(replace(case, is_known=False)) is None


@given(cases())
def test_a_position_keeps_its_stop_until_it_is_closed(case: Case) -> None:
    """However it is wound up, no step takes away protection that is not too much."""
    venue = Venue(replace(case, must_go=True))
    while (step := next_step(venue.case)) is not None:
        if isinstance(step, Cancel) and role_of(step.order.custom_tag) is Role.STOP:
            assert not venue.case.held
        venue.do(step)
