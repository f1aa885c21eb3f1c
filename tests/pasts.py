"""Short pasts, told by hand, and decisions taken in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from decimal import Decimal

from escapement.backtest.run import Account, History, Outcome, trade
from escapement.calendars import calendar_for_contract
from escapement.core.dealing import DealParams
from escapement.core.execution import Sizing
from escapement.core.risk import OwnLimits, Pack
from escapement.model import NS_PER_SECOND, Action, AggressorSide, Bar, Decision, OrderSide, Session, Timeframe, Trade
from escapement.moments import ns_from_iso
from escapement.simulator.contracts import contract_facts
from escapement.simulator.fills import FillModel

MES, MNQ = "CON.F.US.MES.M25", "CON.F.US.MNQ.M25"
MONDAY = ns_from_iso("2025-03-17T13:30:00Z")  # 08:30 at the exchange
MINUTE = 60 * NS_PER_SECOND
EXACT = FillModel(spread_ticks=0)
Row = tuple[float, float, float, float]


def bars(
    *rows: Row, timeframe: str = "5m", begin_ns: int = MONDAY, contract_id: str = MES, volume: int = 100
) -> list[Bar]:
    """Return bars one after the other, of open, high, low and close."""
    frame, calendar, made, at_ns = Timeframe.parse(timeframe), calendar_for_contract(contract_id), [], begin_ns
    for row in rows:
        interval = calendar.interval(frame, at_ns)
        assert interval is not None
        made.append(Bar(contract_id, frame, interval.label_ns, interval.end_ns, *row, volume))
        at_ns = interval.end_ns
    return made


def history(some: Sequence[Bar], trades: Sequence[Trade] | None = None, contract_id: str = MES) -> History:
    """Return what bars of one timeframe, or trades, tell of a contract."""
    by_timeframe = {some[0].timeframe: some} if some else {}
    return History(contract_facts(contract_id), calendar_for_contract(contract_id), by_timeframe, trades)


def prints(*told: tuple[float, float, str], contract_id: str = MES) -> list[Trade]:
    """Return trades of second after ``MONDAY``, price and side."""
    return [
        Trade(contract_id, MONDAY + round(second * NS_PER_SECOND), price, 1, AggressorSide(side))
        for second, price, side in told
    ]


def decision(at_ns: int, direction: int, contract_id: str = MES) -> Decision:
    """Return a decision to be long (1), short (-1) or flat (0)."""
    action = {1: Action.ENTER_LONG, -1: Action.ENTER_SHORT, 0: Action.EXIT}[direction]
    identity = f"{at_ns:x}{direction % 3}{contract_id[9:12].lower()}".replace(".", "")[-16:].rjust(32, "0")[::-1]
    return Decision(identity, "default", contract_id, action, direction, 1.0, 1.0, at_ns, "rule", "words", ())


def account(
    *,
    stop: int = 20,
    target: int | None = None,
    fills: FillModel = EXACT,
    fee: str = "0",
    contracts: int = 1,
    own_brackets: bool = False,
    pack: Pack | None = None,
    own: OwnLimits | None = None,
    deadlines: Callable[[Session], tuple[int | None, int | None]] = lambda _: (None, None),
    latency_ms: int = 0,
    balance: int = 50_000,
) -> Account:
    """Return an account with these terms."""
    targets = {} if target is None else {"*": target}
    deal = DealParams({"*": stop}, targets, Sizing(contracts, None, contracts), not own_brackets, fee=Decimal(fee))
    limits = own or OwnLimits(orders_per_minute=None)
    return Account(Decimal(balance), deal, pack, limits, deadlines, fills, latency_ms * 1_000_000)


def run(told: History | Sequence[History], decisions: Sequence[Decision], with_account: Account) -> Outcome:
    """Trade decisions over the whole of a past."""
    histories = [told] if isinstance(told, History) else list(told)
    bars_ = [bar for each in histories for some in each.bars.values() for bar in some]
    trades = [trade_ for each in histories for trade_ in each.trades or ()]
    begins = [bar.start_ns for bar in bars_] + [each.at_ns for each in trades]
    ends = [bar.end_ns for bar in bars_] + [each.at_ns + 1 for each in trades]
    return trade(histories, decisions, with_account, min(begins), max(ends))


def fills(outcome: Outcome) -> list[tuple[int, float]]:
    """Return what was filled: contracts, negative when sold, and price."""
    return [(each.size if each.side is OrderSide.BUY else -each.size, each.price) for each in outcome.fills]


def walk(count: int) -> list[Bar]:
    """Return so many bars of 5 minutes, wandering from a Sunday evening on."""
    chance, calendar, frame = random.Random(3), calendar_for_contract(MES), Timeframe.parse("5m")
    at_ns, ticks = ns_from_iso("2025-03-16T22:00:00Z"), 22_800
    found: list[Bar] = []
    while len(found) < count:
        interval = calendar.interval(frame, at_ns)
        if interval is not None:
            opened = ticks + chance.randint(-1, 1)
            ticks = opened + chance.randint(-14, 14)
            high, low = max(opened, ticks) + chance.randint(0, 8), min(opened, ticks) - chance.randint(0, 8)
            found.append(
                Bar(MES, frame, interval.label_ns, interval.end_ns, opened / 4, high / 4, low / 4, ticks / 4, 40)
            )
        at_ns += 300_000_000_000
    return found
