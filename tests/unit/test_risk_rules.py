"""Each rule on both sides of its edge: the checks, the floors, and the firms' packs with their deadlines."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from escapement import firms
from escapement.calendars import calendar
from escapement.core.risk import (
    AccountState,
    Check,
    Entry,
    Exposure,
    Market,
    OwnLimits,
    Pack,
    Proposal,
    Stop,
    Tier,
    Trailing,
    check_entry,
    floors,
    watch,
)
from escapement.errors import InvalidInput
from escapement.model import NS_PER_SECOND
from escapement.moments import ns_from_iso

NOW = ns_from_iso("2025-03-17T14:00:00Z")
TODAY = date(2025, 3, 17)
FEE, TICK = Decimal("0.61"), Decimal("1.25")
NONE = OwnLimits(orders_per_minute=None)
MARKET = Market(NOW, is_open=True, price_ns=NOW)
ASKED = Proposal("MESM5", "MES", 1, 2, 40, TICK, FEE, NOW, data_complete=True)
# Two contracts: 2 * ((40 + 2) ticks * 1.25 + 2 * 0.61).
AT_RISK = Decimal("107.44")


def account(balance: Decimal | float = 50_000, **changes: Any) -> AccountState:
    money = Decimal(str(balance))
    values = dict.fromkeys(
        ("day_start_balance", "highest_end_of_day", "end_of_day_balance", "highest_realised", "highest_equity"),
        Decimal(50_000),
    )
    return AccountState(can_trade=True, balance=money, **{**values, **changes})


def asked(
    own: OwnLimits = NONE, pack: Pack | None = None, state: AccountState | None = None, market: Market = MARKET,
    **changes: Any,
) -> Check | None:  # fmt: skip
    return check_entry(pack, own, state or account(), market, replace(ASKED, **changes)).refusal


def refused(code: str, *arguments: Any, **changes: Any) -> bool:
    found = asked(*arguments, **changes)
    assert found is None or found.code == code, found
    return found is not None


def test_who_cannot_trade_is_blocked_or_decided_on_gaps_is_refused() -> None:
    assert asked() is None
    assert refused("account_cannot_trade", state=replace(account(), can_trade=False))
    assert refused("blocked", state=account(blocked="trading was stopped"))
    assert refused("data_incomplete", data_complete=False)


def test_ages_are_allowed_up_to_their_edge() -> None:
    for seconds, expected in ((60, False), (60.001, True)):
        assert refused("decision_stale", known_at_ns=NOW - round(seconds * NS_PER_SECOND)) is expected
    for seconds, expected in ((10, False), (10.001, True)):
        market = replace(MARKET, price_ns=NOW - round(seconds * NS_PER_SECOND))
        assert refused("price_stale", market=market) is expected
    assert refused("price_stale", market=replace(MARKET, price_ns=None))
    assert refused("market_closed", market=replace(MARKET, is_open=False))


def test_entries_end_at_their_deadline() -> None:
    assert not refused("after_deadline", market=replace(MARKET, no_entries_ns=NOW + 1))
    assert refused("after_deadline", market=replace(MARKET, no_entries_ns=NOW))


def test_an_entry_needs_a_stop() -> None:
    assert refused("no_stop", stop_ticks=None)


def test_sizes_are_allowed_up_to_their_edge() -> None:
    for most, expected in ((2, False), (1, True)):
        assert refused("order_too_large", OwnLimits(most_per_order=most)) is expected
    held = Exposure("MNQM5", "MNQ", TICK, FEE, ((-3, 100),), 99, 101, (Stop(3, 140),), (Entry(-1, 40),))
    for most, expected in ((6, False), (5, True)):  # three held, one ordered, two asked for
        assert (
            refused("position_too_large", OwnLimits(most_contracts=most), state=account(exposures=(held,))) is expected
        )


def test_micros_count_a_tenth_and_the_sum_is_over_all_products() -> None:
    pack = replace(firms.pack("topstep_combine_50k", TODAY), most_lots=Decimal(1), maximum_loss=None)
    assert not refused("position_too_large", NONE, pack, size=10)
    assert refused("position_too_large", NONE, pack, size=11)
    assert not refused("position_too_large", NONE, pack, product="SIL", size=1)  # micro silver counts whole
    assert refused("position_too_large", NONE, pack, product="SIL", size=2)
    mini = Exposure("ESM5", "EP", TICK, FEE, ((1, 100),), 99, 101, (Stop(1, 60),))
    assert refused("position_too_large", NONE, pack, account(exposures=(mini,)), size=1)


def test_the_scaling_plan_goes_by_the_profit_of_the_day_before() -> None:
    pack = firms.pack("topstep_express_50k", TODAY)
    for profit, lots in (("0", 2), ("1500", 2), ("1500.01", 3), ("2000", 3), ("2000.01", 5), ("-500", 2)):
        state = account(10_000, end_of_day_balance=Decimal(profit), highest_end_of_day=Decimal(0))
        assert not refused("position_too_large", NONE, pack, state, product="EP", size=lots, stop_ticks=4)
        assert refused("position_too_large", NONE, pack, state, product="EP", size=lots + 1, stop_ticks=4)


def test_rates_are_allowed_up_to_their_edge() -> None:
    times = (NOW - 60 * NS_PER_SECOND, NOW - 59 * NS_PER_SECOND)
    for most, expected in ((2, False), (1, True)):  # the older one is a minute ago
        assert (
            refused("too_many_orders", OwnLimits(orders_per_minute=most), state=account(entry_times_ns=times))
            is expected
        )
    for most, expected in ((3, False), (2, True)):
        own = OwnLimits(orders_per_minute=None, orders_per_day=most)
        assert refused("too_many_orders", own, state=account(entry_times_ns=times)) is expected


def test_a_trade_may_lose_up_to_its_limit_with_slippage_and_both_fees() -> None:
    for limit, expected in ((AT_RISK, False), (AT_RISK - Decimal("0.01"), True)):
        assert refused("trade_loss", OwnLimits(trade_loss=limit)) is expected


@pytest.mark.parametrize(
    ("code", "own", "pack"),
    [
        ("daily_loss", OwnLimits(daily_loss=Decimal(500)), None),
        ("trailing_loss", OwnLimits(trailing_loss=Decimal(500)), None),
        ("maximum_loss", NONE, Pack("p", "", TODAY, Decimal(50_000), Decimal(500))),
        ("firm_daily_loss", NONE, Pack("p", "", TODAY, Decimal(50_000), daily_loss=Decimal(500))),
    ],
)
def test_at_worst_the_account_stays_above_every_floor(code: str, own: OwnLimits, pack: Pack | None) -> None:
    edge = 50_000 - 500 + AT_RISK
    assert refused(code, own, pack, account(edge))
    assert not refused(code, own, pack, account(edge + Decimal("0.01")))


def test_the_worst_case_counts_every_position_and_every_working_order() -> None:
    own = OwnLimits(daily_loss=Decimal(500))
    # Long two at 100 with stops at 60: 2 * ((40 + 2) * 1.25 + 0.61); an order for one more: (20 + 2) * 1.25 + 1.22.
    held = Exposure("MNQM5", "MNQ", TICK, FEE, ((2, 100),), 99, 101, (Stop(2, 60),), (Entry(1, 20),))
    edge = 50_000 - 500 + AT_RISK + Decimal("106.22") + Decimal("28.72")
    assert refused("daily_loss", own, state=account(edge, exposures=(held,)))
    assert not refused("daily_loss", own, state=account(edge + Decimal("0.01"), exposures=(held,)))
    for bare in (replace(held, stops=(Stop(1, 60),)), replace(held, entries=(Entry(1, None),))):
        assert refused("unprotected", own, state=account(exposures=(bare,)))


def test_opposite_positions_elsewhere_are_refused_also_in_correlated_products() -> None:
    pack = replace(firms.pack("topstep_combine_50k", TODAY), maximum_loss=None)
    for product, net, expected in (("MES", -1, True), ("ENQ", -1, True), ("MES", 1, False), ("GCE", -1, False)):
        state = account(others=(("PRAC-2", product, net),))
        assert refused("opposing_exposure", NONE, pack, state) is expected
    assert not refused("opposing_exposure", NONE, None, account(others=(("PRAC-2", "MES", -1),)))


@pytest.mark.parametrize(
    ("highest", "floor"), [(49_000, 48_000), (50_000, 48_000), (51_000, 49_000), (52_000, 50_000), (58_000, 50_000)]
)
def test_the_floor_of_a_combine_trails_the_end_of_days_and_locks_at_the_start(highest: int, floor: int) -> None:
    pack = firms.pack("topstep_combine_50k", TODAY)
    # What was reached within a day does not count.
    state = account(
        highest_end_of_day=Decimal(highest), highest_realised=Decimal(90_000), highest_equity=Decimal(90_000)
    )
    assert [each.level for each in floors(pack, NONE, state)] == [floor]


@pytest.mark.parametrize(
    ("highest", "paid", "floor"), [(0, False, -2_000), (1_500, False, -500), (2_500, False, 0), (0, True, 0)]
)
def test_an_express_account_begins_at_nothing_and_a_payout_sets_its_floor(
    highest: int, floor: int, *, paid: bool
) -> None:
    pack = firms.pack("topstep_express_50k", TODAY)
    state = account(1_000, highest_end_of_day=Decimal(highest), paid_out=paid)
    assert [each.level for each in floors(pack, NONE, state)] == [floor]


@pytest.mark.parametrize(
    ("trailing", "floor"),
    [(Trailing.FIXED, 49_500), (Trailing.END_OF_DAY, 50_500), (Trailing.REALISED, 51_500), (Trailing.OPEN, 52_500)],
)
def test_a_maximum_loss_trails_what_it_says(trailing: Trailing, floor: int) -> None:
    pack = Pack("p", "", TODAY, Decimal(50_000), Decimal(500), trailing)
    state = account(
        highest_end_of_day=Decimal(51_000), highest_realised=Decimal(52_000), highest_equity=Decimal(53_000)
    )
    assert [each.level for each in floors(pack, NONE, state)] == [floor]


def test_what_is_open_counts_at_the_side_at_which_it_could_be_closed_and_with_its_fees() -> None:
    own = OwnLimits(daily_loss=Decimal(500))
    # Long ten at 100, the bid at 61: 10 * 39 * 1.25 = 487.50, and 6.10 to close them.
    long = Exposure("MESM5", "MES", TICK, FEE, ((10, 100),), bid=61, ask=62, stops=(Stop(10, 20),))
    short = replace(long, lots=((-10, 100),), bid=138, ask=139)
    for held in (long, short):
        (alarm,) = watch(None, own, account(49_993.60, exposures=(held,)), MARKET)
        assert alarm.code == "daily_loss"
        assert alarm.block_until_next_session
        assert not watch(None, own, account(49_993.61, exposures=(held,)), MARKET)


def test_the_deadline_asks_for_all_to_be_closed_while_something_is_held() -> None:
    held = Exposure("MESM5", "MES", TICK, FEE, ((1, 100),), 100, 101, (Stop(1, 60),))
    for flat_ns, state, codes in (
        (NOW, account(exposures=(held,)), ["deadline"]), (NOW + 1, account(exposures=(held,)), []),
        (NOW, account(), []),
    ):  # fmt: skip
        assert [each.code for each in watch(None, NONE, state, replace(MARKET, flat_ns=flat_ns))] == codes


@pytest.mark.parametrize(
    ("day", "no_entries", "flat"),
    [
        ("2025-03-07", "2025-03-07T21:05:00Z", "2025-03-07T21:07:00Z"),  # the Friday before clocks change in Chicago
        ("2025-03-10", "2025-03-10T20:05:00Z", "2025-03-10T20:07:00Z"),  # and the Monday after
        ("2025-10-31", "2025-10-31T20:05:00Z", "2025-10-31T20:07:00Z"),
        ("2025-11-03", "2025-11-03T21:05:00Z", "2025-11-03T21:07:00Z"),
        ("2025-07-03", "2025-07-03T17:08:00Z", "2025-07-03T17:10:00Z"),  # closes at 12:15 in Chicago
        ("2025-11-28", "2025-11-28T18:08:00Z", "2025-11-28T18:10:00Z"),  # the day after Thanksgiving
    ],
)
def test_deadlines_follow_the_clock_of_chicago_and_early_closes(day: str, no_entries: str, flat: str) -> None:
    sessions = {session.trade_date: session for session in calendar("cme_equity").sessions}
    found = firms.deadlines(firms.pack("topstep_combine_50k", TODAY), sessions[date.fromisoformat(day)])
    assert found == (ns_from_iso(no_entries), ns_from_iso(flat))


def test_the_day_tells_which_rules_hold() -> None:
    assert firms.pack("topstep_combine_100k", date(2024, 8, 24)).daily_loss == 2_000
    assert firms.pack("topstep_combine_100k", date(2024, 8, 25)).daily_loss is None
    with pytest.raises(InvalidInput, match="valid from 2024-01-01"):
        firms.pack("topstep_combine_100k", date(2023, 12, 31))
    with pytest.raises(InvalidInput, match="topstep_combine_50k"):
        firms.pack("topstep", TODAY)


@pytest.mark.parametrize(
    ("name", "start", "loss", "lots", "target"),
    [("50k", 50_000, 2_000, 5, 3_000), ("100k", 100_000, 3_000, 10, 6_000), ("150k", 150_000, 4_500, 15, 9_000)],
)
def test_the_packs_hold_the_published_numbers(name: str, start: int, loss: int, lots: int, target: int) -> None:
    for kind, begin in (("combine", start), ("express", 0)):
        pack = firms.pack(f"topstep_{kind}_{name}", TODAY)
        numbers = pack.starting_balance, pack.maximum_loss, pack.most_lots, pack.locks_at
        assert numbers == tuple(map(Decimal, (begin, loss, lots, begin)))
        assert pack.own_device
        assert pack.trailing is Trailing.END_OF_DAY
    combine = firms.pack(f"topstep_combine_{name}", TODAY)
    assert (combine.profit_target, combine.best_day_share) == (Decimal(target), Decimal("0.5"))


OWN = """
firm: Mine
sources: [{rules: all, checked: 2026-01-01, sure: official, from: me}]
packs:
  - {name: mine, title: Mine, valid_from: 2020-01-01, starting_balance: 1000, maximum_loss: 100}
"""


def test_a_firm_of_ones_own_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(OWN, encoding="utf-8")
    assert firms.pack(f"{file}#mine", TODAY).maximum_loss == 100
    assert firms.pack(str(file), TODAY).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("maximum_loss: 100", "maximum_loss: -1", "mine: maximum_loss -1: should be greater than 0"),
        ("maximum_loss: 100", "maxmum_loss: 100", "mine: maxmum_loss 100: Extra inputs are not permitted; take it out"),
        ("maximum_loss: 100", "trailing: sometimes", "mine: trailing 'sometimes': is unknown; use one of fixed"),
        ("maximum_loss: 100", "no_entries_after: noon", "mine: no_entries_after 'noon'"),
        ("firm: Mine", "firm: [", "is not YAML"),
        ("packs:", "pack:", "packs: Field required"),
    ],
)
def test_a_file_of_rules_that_is_wrong_is_named_with_field_and_value(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(OWN.replace(old, new), encoding="utf-8")
    with pytest.raises(InvalidInput) as raised:
        firms.pack(str(file), TODAY)
    assert str(file) in str(raised.value)
    assert message in str(raised.value)


def test_a_file_of_rules_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.yaml"):
        firms.pack(str(tmp_path / "none.yaml"), TODAY)


def test_tiers_below_the_first_allow_what_the_pack_allows() -> None:
    pack = Pack("p", "", TODAY, Decimal(0), most_lots=Decimal(9), tiers=(Tier(Decimal(100), Decimal(3)),))
    assert pack.lots_allowed(Decimal(99)) == 9
    assert pack.lots_allowed(Decimal(100)) == 3
