"""What is simulated, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from escapement.errors import InvalidInput
from escapement.model import Contract
from escapement.simulator.access import RateLimit
from escapement.simulator.accounts import AccountSpec
from escapement.simulator.faults import Fault
from escapement.simulator.fills import FillModel
from escapement.simulator.venue import Rules


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """What is simulated.

    ``contract_ids`` are those of the trades; ``contracts`` gives facts of contracts that are not well known.
    ``users`` maps user names to API keys; without ``accounts`` each user has one.

    ``speed``: virtual seconds a second; None as quick as the clients take it. ``audience``: ``ignore`` replays for
    nobody too, ``start`` waits until every contract has a subscriber, ``always`` also stands still while one has none.
    ``listeners``: how many subscribers that takes.
    ``settle_s``: begin that long after the last subscription although some contracts have no subscriber; None waits for
    all. ``begin_ns``: trades before it are history from the start.

    ``ping_s`` between pings, ``handshake_s`` for a handshake, ``client_silence_s`` until a client that says nothing and
    ``stuck_s`` until one that takes nothing is dropped.

    ``bars_limit`` and ``calls_limit`` are the venue's, per user; None is without limit. ``hour_rule``: bars of several
    hours lack the newest finished hour. ``minutes_since_ns``: by contract, from when on the venue still has bars of
    seconds and minutes; it drops them some time after a contract has expired. ``front_since_ns``: by contract, from
    when on it is the front of its product; of those named there only the newest front is listed as active.
    ``wrap_events``: events of accounts come as action and data. ``strict_version`` refuses handshakes of versions other
    than 1. ``state_file`` keeps accounts, orders and the clock between runs.

    Raises:
        InvalidInput: a value cannot be used.
    """

    contract_ids: Sequence[str]
    users: Mapping[str, SecretStr] = field(default_factory=lambda: {"demo": SecretStr("demo-key-0001")})
    accounts: Sequence[AccountSpec] = ()
    contracts: Sequence[Contract] = ()
    host: str = "127.0.0.1"
    port: int = 0
    speed: float | None = None
    audience: Literal["ignore", "start", "always"] = "start"
    listeners: int = 1
    settle_s: float | None = None
    begin_ns: int | None = None
    calendar: str | None = None
    token_lifetime_s: float = 86_400.0
    ping_s: float = 15.0
    handshake_s: float = 15.0
    client_silence_s: float = 30.0
    stuck_s: float = 30.0
    strict_version: bool = False
    bars_limit: RateLimit | None = field(default_factory=lambda: RateLimit(50, 30.0))
    calls_limit: RateLimit | None = field(default_factory=lambda: RateLimit(200, 60.0))
    hour_rule: bool = True
    front_since_ns: Mapping[str, int] = field(default_factory=dict)
    minutes_since_ns: Mapping[str, int] = field(default_factory=dict)
    wrap_events: bool = True
    rules: Rules = field(default_factory=Rules)
    fills: FillModel = field(default_factory=FillModel)
    faults: Sequence[Fault] = ()
    seed: int = 1
    state_file: Path | None = None

    def __post_init__(self) -> None:
        if not self.contract_ids:
            raise InvalidInput("there are no contracts to simulate; name at least one")
        if not self.users:
            raise InvalidInput("there is no user who could log in; name one")
        if self.speed is not None and self.speed <= 0:
            raise InvalidInput(f"speed {self.speed} is not positive; use 1 for real time, 60 for a minute a second")
        owners = {name.lower() for name in self.users}
        for account in self.accounts:
            if account.user.lower() not in owners:
                raise InvalidInput(f"account {account.account_id} is of user {account.user!r}, who cannot log in")

    def key_of(self, user: str) -> str | None:
        """Return a user's API key, or None for nobody; names are compared without case."""
        for name, key in self.users.items():
            if name.lower() == user.lower():
                return key.get_secret_value()
        return None

    def account_specs(self) -> Sequence[AccountSpec]:
        """Return the accounts, one for each user where none are given."""
        if self.accounts:
            return self.accounts
        return [AccountSpec(1001 + n, f"SIM-{1001 + n}", user) for n, user in enumerate(self.users)]
