"""Orders, fills and positions of an account, and what to do next about them."""

from escapement.core.execution.book import AccountBook
from escapement.core.execution.holdings import Holding, Lot, RoundTrip
from escapement.core.execution.orders import ENDED, STOPS, OrderRecord, is_working, remaining
from escapement.core.execution.performance import Result, results, total
from escapement.core.execution.records import (
    INTENDED,
    LAPSED,
    AccountDay,
    Difference,
    HoldingNote,
    KeptAccount,
    KillSwitch,
    OrderNote,
    Wish,
)
from escapement.core.execution.sizing import Sizing, size_of
from escapement.core.execution.steps import Cancel, Case, Close, Enter, Protect, Resize, Standing, Step, next_step
from escapement.core.execution.tags import Role, decision_of, number_of, role_of, tag

__all__ = [
    "ENDED", "INTENDED", "LAPSED", "STOPS", "AccountBook", "AccountDay", "Cancel", "Case", "Close", "Difference",
    "Enter", "Holding", "HoldingNote", "KeptAccount", "KillSwitch", "Lot", "OrderNote", "OrderRecord", "Protect",
    "Resize", "Result", "Role", "RoundTrip", "Sizing", "Standing", "Step", "Wish", "decision_of", "is_working",
    "next_step", "number_of", "remaining", "results", "role_of", "size_of", "tag", "total",
]  # fmt: skip
