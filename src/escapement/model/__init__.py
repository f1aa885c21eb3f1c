"""The nouns: frozen values every room speaks in."""

from escapement.model.account import Account
from escapement.model.bar import Bar, BarSource, FormingBar
from escapement.model.contract import Contract
from escapement.model.decision import FLAT, LONG, SHORT, Action, Decision, HeardSignal, SignalIdentity
from escapement.model.gap import Coverage, Gap, GapCause
from escapement.model.grid import PriceGrid
from escapement.model.order import (
    Bracket,
    Fill,
    Order,
    OrderRequest,
    OrderSide,
    OrderStatus,
    OrderType,
)
from escapement.model.position import Position
from escapement.model.session import Interval, Period, Session, SessionCalendar
from escapement.model.signal import DOWNTREND_START, UPTREND_START, Signal
from escapement.model.timeframe import NS_PER_SECOND, Timeframe, TimeframeUnit
from escapement.model.trade import MOST_VOLUME, AggressorSide, Trade

__all__ = [
    "DOWNTREND_START",
    "FLAT",
    "LONG",
    "MOST_VOLUME",
    "NS_PER_SECOND",
    "SHORT",
    "UPTREND_START",
    "Account",
    "Action",
    "AggressorSide",
    "Bar",
    "BarSource",
    "Bracket",
    "Contract",
    "Coverage",
    "Decision",
    "Fill",
    "FormingBar",
    "Gap",
    "GapCause",
    "HeardSignal",
    "Interval",
    "Order",
    "OrderRequest",
    "OrderSide",
    "OrderStatus",
    "OrderType",
    "Period",
    "Position",
    "PriceGrid",
    "Session",
    "SessionCalendar",
    "Signal",
    "SignalIdentity",
    "Timeframe",
    "TimeframeUnit",
    "Trade",
]
