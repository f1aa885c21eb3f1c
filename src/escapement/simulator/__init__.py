"""A ProjectX gateway in a box: REST and SignalR on localhost, for tests, demonstrations and rehearsal."""

from escapement.simulator.server import Progress, Simulator, SimulatorConfig
from escapement.simulator.sources import merged, synthetic_trades, trades_from_bar_file, trades_from_file

__all__ = [
    "Progress",
    "Simulator",
    "SimulatorConfig",
    "merged",
    "synthetic_trades",
    "trades_from_bar_file",
    "trades_from_file",
]
