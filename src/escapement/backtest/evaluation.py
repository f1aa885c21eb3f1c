"""What a strategy's trades would do to accounts under a firm's rules, had they come in another order.

Sessions of a backtest are drawn in blocks, so that what comes together stays together, and traded one after the other
until the account is lost, has passed, or was paid. Source of the drawing: circular block bootstrap, Politis and Romano,
"A circular block-resampling procedure for stationary data" (1992).

The floors are those of the risk checks. As live, an entry is made smaller, or left out, where its stop would reach a
floor; a position is closed where the account touches one. What is not modelled: positions at the same time count one
after the other, by when they closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from random import Random
from statistics import median

from escapement.core.risk import AccountState, OwnLimits, Pack, Trailing, floors
from escapement.errors import InvalidInput


class End(StrEnum):
    """How a try at an account ended."""

    PASSED = "passed"  # the profit target was reached, and no day made too much of it
    PAID = "paid"  # as many winning days as a payout takes
    MAXIMUM_LOSS = "maximum_loss"  # the account was lost
    NO_ROOM = "no_room"  # not one contract could be traded any more without risking the account
    TIME = "time"  # neither happened within the sessions allowed


@dataclass(frozen=True, slots=True)
class Played:
    """A trade, in money of one contract after fees.

    ``net`` it made, ``worst`` and ``best`` it stood at while open (0 or less, 0 or more), ``risk`` what it could have
    lost at its stop, ``contracts`` it had, ``lots`` a contract counts.
    """

    net: float
    worst: float
    best: float
    risk: float
    contracts: int
    lots: float


@dataclass(frozen=True, slots=True)
class EvaluationParams:
    """How often to try, how many sessions are drawn together, and how many a try may take.

    Raises:
        InvalidInput: a number is not positive.
    """

    trials: int = 2_000
    block: int = 5
    longest: int = 250

    def __post_init__(self) -> None:
        for name in ("trials", "block", "longest"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} {getattr(self, name)} is not positive; use 1 or more")


@dataclass(frozen=True, slots=True)
class Chances:
    """What came of all tries with one size: ``times`` that of the backtest.

    ``ends``: how many tries ended how. ``days``: sessions it took those that succeeded, the median; None without any.
    """

    times: int
    trials: int
    ends: dict[End, int] = field(default_factory=dict)
    days: float | None = None

    def share(self, *ends: End) -> float:
        """Return the share of tries that ended so."""
        return sum(self.ends.get(each, 0) for each in ends) / self.trials

    @property
    def success(self) -> float:
        """Return the share of tries that passed or were paid."""
        return self.share(End.PASSED, End.PAID)


def chances(
    sessions: Sequence[Sequence[Played]],
    pack: Pack,
    own: OwnLimits,
    params: EvaluationParams,
    times: int,
    chance: Random,
) -> Chances:
    """Try an account many times.

    Args:
        sessions: the trades of each session of a backtest, also of those without any.
        pack: the firm's rules.
        own: the trader's limits, of which the losses count.
        params: how often, and how long.
        times: how many times the backtest's size is traded.
        chance: seeded, so that it can be repeated.

    Raises:
        InvalidInput: nothing was traded, or the rules name nothing to reach.
    """
    if not any(sessions):
        raise InvalidInput("the backtest has no trades; nothing can be said of an account")
    if pack.profit_target is None and pack.payout_days is None:
        raise InvalidInput(f"pack {pack.name} names neither profit_target nor payout_days; choose one that does")
    found: Counter[End] = Counter()
    lengths = []
    for _ in range(params.trials):
        end, days = _Try(pack, own, times).run(sessions, params, chance)
        found[end] += 1
        if end in {End.PASSED, End.PAID}:
            lengths.append(days)
    return Chances(times, params.trials, dict(found), median(lengths) if lengths else None)


def most_times(sessions: Sequence[Sequence[Played]], pack: Pack) -> int:
    """Return by how much the backtest's size can be multiplied before the firm's lots forbid every trade."""
    allowed = pack.lots_allowed(Decimal(0))
    smallest = min((each.contracts * each.lots for some in sessions for each in some), default=0.0)
    return 1 if allowed is None or not smallest else max(1, int(float(allowed) / smallest))


class _Try:
    """One account from its beginning."""

    def __init__(self, pack: Pack, own: OwnLimits, times: int) -> None:
        start = float(pack.starting_balance)
        self._pack, self._own, self._times = pack, own, times
        self._balance = self._day_start = self._end_of_day = self._highest_end = start
        self._highest_realised = self._highest_equity = start
        self._best_day = 0.0
        self._winning_days = 0
        self._lots = float("inf")
        self._follows = pack.trailing in {Trailing.OPEN, Trailing.REALISED} or own.trailing_loss is not None
        self._floors: list[tuple[float, bool]] = []

    def run(self, sessions: Sequence[Sequence[Played]], params: EvaluationParams, chance: Random) -> tuple[End, int]:
        """Return how it ended, and after how many sessions."""
        for day in range(params.longest):
            if day % params.block == 0:
                place = chance.randrange(len(sessions))
            end = self._session(sessions[(place + day % params.block) % len(sessions)])
            if end is not None:
                return end, day + 1
        return End.TIME, params.longest

    def _session(self, trades: Sequence[Played]) -> End | None:
        self._day_start = self._balance
        allowed = self._pack.lots_allowed(Decimal(str(self._end_of_day)) - self._pack.starting_balance)
        self._lots = float("inf") if allowed is None else float(allowed)
        self._look()
        left_out = 0
        for trade in trades:
            size = self._size(trade)
            left_out += not size
            if size:
                end = self._trade(trade, size)
                if end is not None:
                    if end is End.MAXIMUM_LOSS:
                        return end
                    break
        if trades and left_out == len(trades) and self._is_stuck(trades):
            return End.NO_ROOM
        return self._close()

    def _size(self, trade: Played) -> int:
        """Return with how many contracts a trade is taken; 0 when one alone would risk the account."""
        wanted = trade.contracts * self._times
        if trade.lots:
            wanted = min(wanted, int(self._lots / trade.lots + 1e-9))
        room = self._balance - max((level for level, _ in self._floors), default=float("-inf"))
        if trade.risk > 0 and room < float("inf"):
            # Not a cent may be left at the floor itself.
            wanted = min(wanted, int((room - 0.005) / trade.risk)) if room > 0 else 0
        return max(0, wanted)

    def _trade(self, trade: Played, size: int) -> End | None:
        """Trade; return what ended the session, if something did. TIME stands for a floor that ends only the day."""
        if self._follows:
            self._highest_equity = max(self._highest_equity, self._balance + size * trade.best)
            self._look()
        lowest = self._balance + size * min(trade.worst, trade.net)
        reached = [(level, ends_day) for level, ends_day in self._floors if lowest <= level]
        if reached:
            level, ends_day = max(reached)
            # Closed where it was touched, or where it ended when that was beyond: a gap.
            self._balance = min(level, self._balance + size * trade.net)
            return End.TIME if ends_day else End.MAXIMUM_LOSS
        self._balance += size * trade.net
        self._highest_realised = max(self._highest_realised, self._balance)
        self._highest_equity = max(self._highest_equity, self._balance)
        if self._follows:
            self._look()
        return None

    def _close(self) -> End | None:
        """Take note of the end of a session."""
        made = self._balance - self._day_start
        self._best_day = max(self._best_day, made)
        self._end_of_day = self._balance
        self._highest_end = max(self._highest_end, self._balance)
        pack, profit = self._pack, self._balance - float(self._pack.starting_balance)
        if pack.profit_target is not None and profit >= float(pack.profit_target):
            share = pack.best_day_share
            if share is None or self._best_day <= float(share) * profit:
                return End.PASSED
        if pack.payout_days is not None:
            self._winning_days += made >= float(pack.payout_day_profit)
            if self._winning_days >= pack.payout_days and profit > 0:
                return End.PAID
        return None

    def _is_stuck(self, trades: Sequence[Played]) -> bool:
        """Whether tomorrow's floors leave no room either for what was left out today."""
        self._day_start = self._balance
        self._look()
        return not any(map(self._size, trades))

    def _look(self) -> None:
        balance, day_start, highest_end, end_of_day, realised, equity = (
            Decimal(str(each)) for each in (
                self._balance, self._day_start, self._highest_end, self._end_of_day, self._highest_realised,
                self._highest_equity,
            )
        )  # fmt: skip
        state = AccountState(
            can_trade=True, balance=balance, day_start_balance=day_start, highest_end_of_day=highest_end,
            end_of_day_balance=end_of_day, highest_realised=realised, highest_equity=equity,
        )  # fmt: skip
        self._floors = [(float(each.level), each.ends_day) for each in floors(self._pack, self._own, state)]
