"""Limits of an account, and whether they hold: one evaluator for entries, for what is open, and for the past."""

from escapement.core.risk.checks import Check, Verdict, check_entry, largest_size
from escapement.core.risk.floors import Floor, floors, has_floors
from escapement.core.risk.limits import OwnLimits, Pack, Tier, Trailing
from escapement.core.risk.state import AccountState, Entry, Exposure, Market, Proposal, Stop
from escapement.core.risk.watch import Alarm, watch

__all__ = [
    "AccountState", "Alarm", "Check", "Entry", "Exposure", "Floor", "Market", "OwnLimits", "Pack", "Proposal", "Stop",
    "Tier", "Trailing", "Verdict", "check_entry", "floors", "has_floors", "largest_size", "watch",
]  # fmt: skip
