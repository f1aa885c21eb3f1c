"""When a contract is changed for the next: only between sessions, never back, and to what the venue calls the front."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escapement.calendars import calendar
from escapement.core.roll import (
    RollAhead,
    RollNow,
    RollRefused,
    RollWaits,
    Stay,
    boundary,
    decide,
    expiry_month,
    front_of,
    is_of_product,
    roll_date,
    trade_date_of,
)
from escapement.model import NS_PER_SECOND, Contract
from escapement.moments import iso_from_ns, ns_from_iso
from escapement.simulator import contract_facts

EQUITY = calendar("cme_equity")
CRYPTO = calendar("cme_crypto")
MINUTE = 60 * NS_PER_SECOND
moments = st.integers(ns_from_iso("2024-12-01T00:00:00Z"), ns_from_iso("2026-12-01T00:00:00Z"))
quarters = st.builds(lambda month, year: f"{month}{year}", st.sampled_from("HMUZ"), st.integers(24, 27))
contracts = st.builds(lambda code, expiry: contract_facts(f"CON.F.US.{code}.{expiry}"),
                      st.sampled_from(["MES", "EP", "NKD", "CLE"]), quarters)  # fmt: skip


def mes(expiry: str) -> Contract:
    return contract_facts(f"CON.F.US.MES.{expiry}")


@given(moments)
def test_a_boundary_is_outside_every_session_and_names_the_next_one(now_ns: int) -> None:
    session = boundary(EQUITY, now_ns)
    if session is not None:
        assert EQUITY.locate(now_ns) is None
        assert session.open_ns - now_ns >= MINUTE
        assert session.trade_date == trade_date_of(EQUITY, now_ns)
        assert EQUITY.locate(now_ns - 2 * MINUTE) is None


@given(st.integers(1, len(EQUITY.sessions) - 1), st.floats(0, 1))
def test_every_break_has_a_boundary(index: int, share: float) -> None:
    before, after = EQUITY.sessions[index - 1], EQUITY.sessions[index]
    first, last = before.close_ns + 2 * MINUTE, after.open_ns - MINUTE - 1
    assert boundary(EQUITY, first + int(share * (last - first))) == after


@pytest.mark.parametrize(
    ("now", "trade_date"),
    [
        ("2025-03-17T20:59:00Z", None),  # the session of Monday
        ("2025-03-17T21:01:00Z", None),  # its last bars are being completed
        ("2025-03-17T21:02:00Z", "2025-03-18"),
        ("2025-03-17T21:58:59Z", "2025-03-18"),
        ("2025-03-17T21:59:00Z", None),
        ("2025-03-17T22:00:00Z", None),
        ("2025-03-22T12:00:00Z", "2025-03-24"),  # a weekend
        ("2025-05-26T19:00:00Z", None),  # Memorial Day's break lies within the session of Tuesday
    ],
)
def test_boundaries_of_the_equity_sessions(now: str, trade_date: str | None) -> None:
    session = boundary(EQUITY, ns_from_iso(now))
    assert (None if session is None else session.trade_date.isoformat()) == trade_date


def test_a_market_without_breaks_changes_over_at_the_beginning_of_a_session() -> None:
    session = next(each for each in CRYPTO.sessions if each.trade_date == date(2026, 9, 2))
    for minutes, expected in ((-1, None), (0, session), (9, session), (10, None)):
        assert boundary(CRYPTO, session.open_ns + minutes * MINUTE) == expected


@given(contracts, contracts, moments)
def test_nothing_changes_within_a_session_and_nobody_rolls_back(held: Contract, front: Contract, now_ns: int) -> None:
    decision = decide(held, front, EQUITY, now_ns)
    ours, theirs = expiry_month(held.contract_id), expiry_month(front.contract_id)
    assert ours is not None
    assert theirs is not None
    if isinstance(decision, RollNow):
        assert EQUITY.locate(now_ns) is None
        assert theirs >= ours
        assert decision.to == front != held
    if front == held:
        assert isinstance(decision, Stay | RollAhead)
    elif theirs < ours:
        assert decision == RollRefused(front)
    elif EQUITY.locate(now_ns) is not None:
        assert decision == RollWaits(front)


@pytest.mark.parametrize(
    ("contract_id", "expected"),
    [
        ("CON.F.US.MES.H25", "2025-03-17"),  # as the venue's own bars begin
        ("CON.F.US.EP.Z25", "2025-12-15"),
        ("CON.F.US.ENQ.M26", "2026-06-15"),
        ("CON.F.US.MES.F25", None),
        ("CON.F.US.NKD.H25", None),
        ("CON.F.US.CLE.H25", None),
        ("CON.F.US.MES.DEMO", None),
    ],
)
def test_roll_dates(contract_id: str, expected: str | None) -> None:
    found = roll_date(contract_facts(contract_id))
    assert (None if found is None else found.isoformat()) == expected


@given(quarters)
def test_a_roll_is_expected_on_the_monday_before_the_third_friday(expiry: str) -> None:
    on = roll_date(mes(expiry))
    assert on is not None
    assert on.weekday() == 0
    assert 15 <= (on + timedelta(days=4)).day <= 21


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2025-03-07T22:30:00Z", RollAhead(date(2025, 3, 17), 7)),  # Friday evening: next is Monday
        ("2025-03-06T22:30:00Z", Stay()),
        ("2025-03-13T21:30:00Z", RollAhead(date(2025, 3, 17), 3)),
        ("2025-03-17T21:30:00Z", RollAhead(date(2025, 3, 17), -1)),
    ],
)
def test_an_expected_roll_is_told_of_ahead(now: str, expected: object) -> None:
    assert decide(mes("H25"), mes("H25"), EQUITY, ns_from_iso(now)) == expected, iso_from_ns(ns_from_iso(now))


def test_the_front_is_the_active_contract_of_exactly_that_product() -> None:
    listed = [contract_facts(f"CON.F.US.{each}.M25") for each in ("EP", "MES", "ENQ", "MNQ", "RTY", "CLE", "MCLE")]
    for product, code in (("MES", "MES"), ("ES", "EP"), ("ep", "EP"), ("CL", "CLE"), ("NQ", "ENQ")):
        front = front_of(product, listed, date(2025, 5, 1))
        assert front is not None
        assert front.symbol_id == f"F.US.{code}"
        assert is_of_product(front, product)
    assert front_of("S", listed, date(2025, 5, 1)) is None


def test_a_product_whose_code_is_another_ones_symbol_is_found_by_its_code() -> None:
    ours = Contract("CON.F.US.XX.M25", "YYM5", "", Decimal(1), Decimal(1), active=True, symbol_id="F.US.XX")
    other = Contract("CON.F.US.ZZ.H25", "XXH5", "", Decimal(1), Decimal(1), active=True, symbol_id="F.US.ZZ")
    assert front_of("XX", [other, ours], date(2025, 1, 1)) == ours


@pytest.mark.parametrize(("day", "expiry"), [("2025-03-14", "H25"), ("2025-03-17", "M25"), ("2026-01-02", "U25")])
def test_of_several_active_contracts_the_first_that_is_not_rolled_yet_is_the_front(day: str, expiry: str) -> None:
    listed = [mes("U25"), mes("M25"), mes("H25")]
    assert front_of("MES", listed, date.fromisoformat(day)) == mes(expiry)
