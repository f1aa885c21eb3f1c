"""The rules of coordination, a file each, every one a pure function of the view and its own parameters."""

from escapement.core.coordination.rules.conflict import Conflict, ConflictWay
from escapement.core.coordination.rules.confluence import Confluence
from escapement.core.coordination.rules.cooldown import Cooldown
from escapement.core.coordination.rules.once_per import OncePer
from escapement.core.coordination.rules.opposite_signal import OppositeSignal
from escapement.core.coordination.rules.pass_through import PassThrough
from escapement.core.coordination.rules.strategic_tactical import StrategicTactical
from escapement.core.coordination.rules.trading_window import DAYS, TradingWindow
from escapement.core.coordination.rules.weighted import Weighted

__all__ = [
    "DAYS",
    "Conflict",
    "ConflictWay",
    "Confluence",
    "Cooldown",
    "OncePer",
    "OppositeSignal",
    "PassThrough",
    "StrategicTactical",
    "TradingWindow",
    "Weighted",
]  # fmt: skip
