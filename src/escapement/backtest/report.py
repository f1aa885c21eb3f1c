"""What a backtest has to tell, as plain JSON data: for programs, for the terminal and for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from escapement.backtest.figures import (
    ClosedTrade,
    Group,
    closed_trades,
    curve,
    daily,
    figures,
    grouped,
    shuffled_drawdowns,
)
from escapement.backtest.run import Outcome
from escapement.core.execution import role_of
from escapement.model import PriceGrid
from escapement.moments import datetime_from_ns, iso_from_ns

_EXCHANGE = ZoneInfo("America/Chicago")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FEW_TRADES = 30
_ORDERS, _SEED = 1_000, 1
_PLAIN_GROUPS = ("by_hour", "by_weekday", "by_rule", "by_timeframe", "by_exit", "by_direction")


def report(outcome: Outcome, dishonest: Sequence[str] = ()) -> dict[str, Any]:
    """Return everything that is told of a backtest; ``dishonest`` says which analyzers knew more than they could."""
    trades, course = closed_trades(outcome), curve(outcome)
    totals = figures(outcome, trades, course)
    days = daily(outcome, course)
    return {
        "from": iso_from_ns(outcome.from_ns),
        "to": iso_from_ns(outcome.to_ns),
        "contracts": {
            contract_id: {
                "tick_size": str(history.contract.tick_size),
                "tick_value": str(history.contract.tick_value),
                "filled_by": "trades" if history.trades is not None else f"{min(history.bars)} bars",
                "bars": {str(timeframe): len(bars) for timeframe, bars in sorted(history.bars.items())},
            }
            for contract_id, history in outcome.histories.items()
        },
        "account": {
            "start_balance": float(outcome.start_balance),
            "balance": float(outcome.balance),
            "equity": float(outcome.equity),
        },
        "warnings": [*_knew(dishonest), *_warnings(outcome, trades)],
        "counts": {
            "signals": len(outcome.signals),
            "decisions": len(outcome.decisions),
            "orders": len(outcome.orders),
            "fills": len(outcome.fills),
            "refusals": dict(Counter(each.check.code for each in outcome.refusals).most_common()),
            "rejections": dict(Counter(each.words for each in outcome.rejections).most_common()),
        },
        "figures": asdict(totals),
        "other_orders": _other_orders(trades),
        **{
            name: [asdict(group) for group in groups]
            for name, groups in zip(_PLAIN_GROUPS, _groups(trades), strict=True)
        },
        "alarms": [{"at": iso_from_ns(at_ns), "words": words} for at_ns, words in outcome.alarms],
        "days": [{"trade_date": day.isoformat(), "equity": equity} for day, equity in days],
        "trades": [_trade(number, each, outcome) for number, each in enumerate(trades, 1)],
        "open": _open(outcome),
        "decisions": [
            {"id": each.decision_id, "known_at": iso_from_ns(each.known_at_ns), "contract": each.contract_id,
             "action": str(each.action), "price": each.price, "rule": each.rule, "words": each.words}
            for each in outcome.decisions
        ],
        "orders": [
            {"id": each.order_id, "contract": each.contract_id, "tag": each.custom_tag, "role": str(
                role_of(each.custom_tag)) if each.custom_tag else "close", "type": each.type.name.lower(),
             "side": each.side.name.lower(), "size": each.size, "status": each.status.name.lower(),
             "filled_size": each.filled_size, "filled_price": each.filled_price, "limit_price": each.limit_price,
             "stop_price": each.stop_price, "created_at": iso_from_ns(each.created_ns)}
            for each in outcome.orders
        ],
        "fills": [
            {"id": each.fill_id, "order_id": each.order_id, "contract": each.contract_id, "at": iso_from_ns(each.at_ns),
             "side": each.side.name.lower(), "size": each.size, "price": each.price, "fees": float(each.fees)}
            for each in outcome.fills
        ],
        "refusals": [
            {"at": iso_from_ns(each.at_ns), "contract": each.contract_id, "decision": each.decision_id,
             "code": each.check.code, "words": each.check.words}
            for each in outcome.refusals
        ],
    }  # fmt: skip


def _other_orders(trades: Sequence[ClosedTrade]) -> dict[str, float | int] | None:
    """Return how deep the largest drawdown is when the same trades come in other orders."""
    found = shuffled_drawdowns(trades, _ORDERS, _SEED)
    return None if found is None else {"orders": _ORDERS, "median": found[0], "deep": found[1]}


def _groups(trades: Sequence[ClosedTrade]) -> tuple[list[Group], ...]:
    """Return trades by each of ``_PLAIN_GROUPS``; hours and weekdays are those of the exchange."""
    return (
        grouped(trades, lambda each: f"{_opened(each).hour:02}:00"),
        sorted(
            grouped(trades, lambda each: _WEEKDAYS[_opened(each).weekday()]),
            key=lambda group: _WEEKDAYS.index(group.name),
        ),
        grouped(trades, lambda each: each.rule or "none"),
        grouped(trades, lambda each: each.timeframe or "none"),
        grouped(trades, lambda each: each.exit),
        grouped(trades, lambda each: "long" if each.trip.size > 0 else "short"),
    )


def _opened(trade: ClosedTrade) -> datetime:
    return datetime_from_ns(trade.trip.opened_ns).astimezone(_EXCHANGE)


def _knew(dishonest: Sequence[str]) -> list[str]:
    return [
        f"these figures are worth nothing, an analyzer does what it could not do live: {each}" for each in dishonest
    ]


def _warnings(outcome: Outcome, trades: Sequence[ClosedTrade]) -> list[str]:
    found = []
    if len(trades) < FEW_TRADES:
        found.append(
            f"{len(trades)} closed trade{'' if len(trades) == 1 else 's'}: too few to tell skill from luck; below "
            f"{FEW_TRADES} take no figure seriously"
        )
    lost = [words for _, words in outcome.alarms if words.startswith("maximum_loss")]
    if lost:
        found.append(f"the account was lost: {lost[0]}")
    if any(history.trades is None for history in outcome.histories.values()):
        found.append(
            "fills are estimated from bars: within a bar a stop comes before a target, and both are guesses where the "
            "bar holds both"
        )
    return found


def _trade(number: int, each: ClosedTrade, outcome: Outcome) -> dict[str, Any]:
    trip = each.trip
    grid = PriceGrid(outcome.histories[trip.contract_id].contract.tick_size)
    return {
        "number": number, "contract": trip.contract_id, "direction": "long" if trip.size > 0 else "short",
        "size": abs(trip.size), "trade_date": _trade_date(each, outcome), "opened_at": iso_from_ns(trip.opened_ns),
        "entry": grid.price(trip.entry_ticks),
        "closed_at": iso_from_ns(trip.closed_ns), "exit": grid.price(trip.exit_ticks), "by": each.exit,
        "ticks": trip.ticks, "net": each.net, "fees": float(trip.fees), "rule": each.rule,
        "timeframe": each.timeframe, "worst_ticks": each.worst_ticks, "best_ticks": each.best_ticks,
    }  # fmt: skip


def _trade_date(each: ClosedTrade, outcome: Outcome) -> str:
    found = outcome.histories[each.trip.contract_id].calendar.locate(each.trip.closed_ns)
    return "" if found is None else found[1].trade_date.isoformat()


def _open(outcome: Outcome) -> list[dict[str, Any]]:
    held: Counter[str] = Counter()
    for each in outcome.fills:
        held[each.contract_id] += each.size if each.side.name == "BUY" else -each.size
    return [{"contract": contract_id, "net": net} for contract_id, net in held.items() if net]
