"""The nouns: frozen values every room speaks in."""

from escapement.model.bar import Bar, FormingBar
from escapement.model.contract import Contract
from escapement.model.session import Interval, Period, Session, SessionCalendar
from escapement.model.timeframe import NS_PER_SECOND, Timeframe, TimeframeUnit
from escapement.model.trade import AggressorSide, Trade

__all__ = [
    "NS_PER_SECOND",
    "AggressorSide",
    "Bar",
    "Contract",
    "FormingBar",
    "Interval",
    "Period",
    "Session",
    "SessionCalendar",
    "Timeframe",
    "TimeframeUnit",
    "Trade",
]
