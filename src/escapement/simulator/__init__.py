"""A ProjectX gateway in a box: REST and SignalR on localhost, for tests, demonstrations and rehearsal."""

from escapement.simulator.access import RateLimit
from escapement.simulator.accounts import AccountSpec
from escapement.simulator.config import SimulatorConfig
from escapement.simulator.contracts import contract_facts
from escapement.simulator.faults import Fault
from escapement.simulator.fills import FillModel
from escapement.simulator.recorded import RecordedTape
from escapement.simulator.server import Progress, Simulator
from escapement.simulator.sources import merged, synthetic_trades, trades_from_bar_file, trades_from_file
from escapement.simulator.venue import Rules

__all__ = [
    "AccountSpec",
    "Fault",
    "FillModel",
    "Progress",
    "RateLimit",
    "RecordedTape",
    "Rules",
    "Simulator",
    "SimulatorConfig",
    "contract_facts",
    "merged",
    "synthetic_trades",
    "trades_from_bar_file",
    "trades_from_file",
]
