"""What can be set of execution, of its limits and of the watchdog."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from escapement.core.execution import Sizing
from escapement.core.risk import OwnLimits, Trailing
from escapement.settings.fields import Count, Seconds, Section, from_yaml, no_flag


def _by_product(value: object) -> object:
    """Read one number for all products, or a table by product code."""
    value = from_yaml(value)
    return {"*": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _money(value: object) -> object:
    return Decimal(str(no_flag(value))) if isinstance(value, int | float) else value


Money = Annotated[
    Decimal, BeforeValidator(_money), Field(gt=0), PlainSerializer(float, return_type=float, when_used="json")
]
Ticks = Annotated[dict[str, Count], BeforeValidator(_by_product)]


class ExecutionSettings(Section):
    """How decisions become orders; see docs/execution.md."""

    mode: Literal["paper", "live"] = "paper"
    account: str | None = None
    paper_account: str = "paper"
    contracts: Count = 1
    risk_per_trade: Money | None = None
    most_contracts: Count = 10
    stop_ticks: Ticks = Field(default_factory=lambda: {"*": 40})
    target_ticks: Ticks = Field(default_factory=dict)
    brackets: Literal["venue", "own"] = "venue"
    foreign: Literal["adopt", "leave", "flatten"] = "leave"
    fee_per_side: Annotated[Decimal, BeforeValidator(_money), Field(ge=0), PlainSerializer(float)] = Decimal("0.61")
    protect_seconds: Seconds = 10.0
    bracket_grace_seconds: Seconds = 2.0
    lookup_seconds: Seconds = 5.0
    answer_seconds: Seconds = 5.0
    reconcile_seconds: Seconds = 30.0
    poll_seconds: Seconds = 2.0
    paper_balance: Money = Decimal(50_000)
    paper_slippage_ticks: Annotated[int, BeforeValidator(no_flag), Field(ge=0)] = 1
    paper_latency_ms: Annotated[int, BeforeValidator(no_flag), Field(ge=0, le=60_000)] = 250
    paper_delay_seconds: Annotated[Seconds, Field(le=60)] = 2.0

    @field_validator("account")
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is blank; write the account's name as the platform shows it")
        return value

    @field_validator("paper_account")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is blank; name the paper account, such as paper")
        return value

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.paper_account == self.account:
            raise ValueError(f"paper_account {self.account!r} is the name of the live account; name it otherwise")
        return self

    def sizing(self) -> Sizing:
        """Return how large entries are."""
        if self.risk_per_trade is not None:
            return Sizing(None, self.risk_per_trade, self.most_contracts)
        return Sizing(self.contracts, None, self.most_contracts)


class RiskSettings(Section):
    """Under which limits; see docs/risk.md."""

    firm_rules: str | None = None
    most_contracts: Count | None = None
    most_per_order: Count | None = None
    orders_per_minute: Count | None = 10
    orders_per_day: Count | None = None
    trade_loss: Money | None = None
    daily_loss: Money | None = None
    trailing_loss: Money | None = None
    trailing: Literal["realised", "open", "end_of_day"] = "realised"
    slippage_ticks: Annotated[int, BeforeValidator(no_flag), Field(ge=0)] = 2
    oldest_price_seconds: Seconds = 10.0
    oldest_decision_seconds: Seconds = 60.0
    no_entries_minutes: Count | None = None
    flatten_minutes: Count | None = None
    highest_end_of_day: Annotated[Decimal | None, BeforeValidator(_money)] = None
    paid_out: bool = False

    def limits(self) -> OwnLimits:
        """Return the trader's own limits."""
        return OwnLimits(
            self.most_contracts, self.most_per_order, self.orders_per_minute, self.orders_per_day, self.trade_loss,
            self.daily_loss, self.trailing_loss, Trailing(self.trailing), self.slippage_ticks,
            self.oldest_price_seconds, self.oldest_decision_seconds,
        )  # fmt: skip


class WatchdogSettings(Section):
    """How the watchdog looks after an account; see docs/execution.md."""

    every_seconds: Seconds = 3.0
    bare_seconds: Seconds = 20.0


class BacktestSettings(Section):
    """The account and the fills of a backtest; see docs/backtest.md."""

    balance: Money = Decimal(50_000)
    latency_ms: Annotated[int, BeforeValidator(no_flag), Field(ge=0, le=60_000)] = 250
    spread_ticks: Annotated[int, BeforeValidator(no_flag), Field(ge=0)] = 1
    slippage_ticks: Annotated[int, BeforeValidator(no_flag), Field(ge=0)] = 1
    queue_ahead: Annotated[int, BeforeValidator(no_flag), Field(ge=0)] = 0
