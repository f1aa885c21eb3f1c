"""The settings of the coordinator: which rules weigh the signals, and how."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from escapement.core.coordination.rules import (
    Conflict,
    ConflictWay,
    Confluence,
    Cooldown,
    OncePer,
    OppositeSignal,
    PassThrough,
    StrategicTactical,
    TradingWindow,
    Weighted,
)
from escapement.settings.fields import (
    Clock,
    Day,
    Duration,
    Seconds,
    Section,
    TimeframeName,
    Zone,
    from_yaml,
    need,
    no_flag,
    once_each,
    split,
)

Timeframes = Annotated[tuple[TimeframeName, ...], BeforeValidator(split), AfterValidator(once_each)]
Names = Annotated[tuple[str, ...], BeforeValidator(split)]
Weight = Annotated[float, BeforeValidator(no_flag), Field(gt=0)]
Need = Annotated[Literal["all"] | int, BeforeValidator(need)]


class RuleSettings(Section):
    """A rule by its name with its parameters; written by its name alone when it has none."""

    rule: str

    @model_serializer(mode="wrap")
    def _short(self, whole: SerializerFunctionWrapHandler) -> object:
        fields = type(self).model_fields
        values = {
            fields[name].alias or name: value
            for name, value in whole(self).items()
            if name == "rule" or value not in _LEFT_OUT
        }
        return self.rule if len(values) == 1 else values

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        self.made()
        return self

    @abstractmethod
    def made(self) -> Any:
        """Return the rule.

        Raises:
            InvalidInput: its parameters do not go together.
        """


_LEFT_OUT: tuple[object, ...] = (None, [], {})


class PassThroughSettings(RuleSettings):
    """Follow every signal."""

    rule: Literal["pass_through"]
    timeframes: Timeframes = ()
    analyzers: Names = ()

    def made(self) -> PassThrough:
        """Return the rule."""
        return PassThrough(self.timeframes, self.analyzers)


class ConfluenceSettings(RuleSettings):
    """Several timeframes agree."""

    rule: Literal["confluence"]
    timeframes: Timeframes
    need: Need = "all"
    within: Duration | None = None
    analyzers: Names = ()

    def made(self) -> Confluence:
        """Return the rule."""
        need = len(self.timeframes) if self.need == "all" else self.need
        return Confluence(self.timeframes, need, self.within, self.analyzers)


class WeightedSettings(RuleSettings):
    """A vote."""

    rule: Literal["weighted"]
    timeframe_weights: dict[TimeframeName, Weight]
    threshold: Weight
    analyzer_weights: dict[str, Weight] = Field(default_factory=dict)
    half_life: Duration | None = None

    def made(self) -> Weighted:
        """Return the rule."""
        return Weighted(self.timeframe_weights, self.threshold, self.analyzer_weights, self.half_life)


class StrategicTacticalSettings(RuleSettings):
    """Larger timeframes permit, smaller ones time."""

    rule: Literal["strategic_tactical"]
    strategic: Timeframes
    tactical: Timeframes
    need: Need = "all"
    within: Duration | None = None
    analyzers: Names = ()

    def made(self) -> StrategicTactical:
        """Return the rule."""
        need = len(self.strategic) if self.need == "all" else self.need
        return StrategicTactical(self.strategic, self.tactical, need, self.within, self.analyzers)


class ConflictSettings(RuleSettings):
    """What happens when some voices oppose a wish."""

    rule: ConflictWay
    timeframes: Timeframes = ()
    analyzers: Names = ()
    within: Duration | None = None

    def made(self) -> Conflict:
        """Return the rule."""
        return Conflict(self.rule, self.timeframes, self.analyzers, self.within)


class CooldownSettings(RuleSettings):
    """Wait after a decision."""

    rule: Literal["cooldown"]
    length: Duration

    def made(self) -> Cooldown:
        """Return the rule."""
        return Cooldown(self.length)


class OncePerSettings(RuleSettings):
    """One entry in a while."""

    rule: Literal["once_per"]
    what: Literal["session", "direction", "session_direction"]

    def made(self) -> OncePer:
        """Return the rule."""
        return OncePer(self.what)


class TradingWindowSettings(RuleSettings):
    """New positions at certain hours only; ``from`` and ``to`` by the clock of ``timezone``."""

    rule: Literal["trading_window"]
    begins: Clock = Field(alias="from")
    ends: Clock = Field(alias="to")
    timezone: Zone
    days: Annotated[tuple[Day, ...], BeforeValidator(split)] = ()

    def made(self) -> TradingWindow:
        """Return the rule."""
        return TradingWindow(self.begins, self.ends, self.timezone, self.days or tuple(range(7)))


class OppositeSignalSettings(RuleSettings):
    """Out of a position when something says the opposite."""

    rule: Literal["opposite_signal"]
    timeframes: Timeframes = ()
    analyzers: Names = ()

    def made(self) -> OppositeSignal:
        """Return the rule."""
        return OppositeSignal(self.timeframes, self.analyzers)


def _named(value: object) -> object:
    return {"rule": value} if isinstance(value, str) else value


def _list(value: object) -> object:
    value = from_yaml(value)
    if value is None:
        return []
    return [_named(each) for each in value] if isinstance(value, list) else [_named(value)]


_Entry = PassThroughSettings | ConfluenceSettings | WeightedSettings | StrategicTacticalSettings
_Gate = CooldownSettings | OncePerSettings | TradingWindowSettings
EntrySettings = Annotated[_Entry, Field(discriminator="rule")]
GateSettings = Annotated[_Gate, Field(discriminator="rule")]
RULES: dict[str, type[RuleSettings]] = {
    get_args(each.model_fields["rule"].annotation)[0]: each
    for each in (*get_args(_Entry), *get_args(_Gate), OppositeSignalSettings)
}


def _directions() -> dict[str, Literal["long", "short"]]:
    return {
        "uptrendStart": "long", "downtrendStart": "short", "crossAbove": "long", "crossBelow": "short",
        "breakoutUp": "long", "breakoutDown": "short",
    }  # fmt: skip


class CoordinatorSettings(Section):
    """How signals become decisions; see docs/coordinator.md."""

    name: str = Field(default="main", min_length=1)
    directions: Annotated[dict[str, Literal["long", "short"]], BeforeValidator(from_yaml)] = Field(
        default_factory=_directions, min_length=1
    )
    entries: Annotated[tuple[EntrySettings, ...], BeforeValidator(_list), Field(min_length=1)] = (
        PassThroughSettings(rule="pass_through"),
    )
    conflict: ConflictSettings = ConflictSettings(rule="higher_timeframe")
    gates: Annotated[tuple[GateSettings, ...], BeforeValidator(_list)] = ()
    exits: Annotated[tuple[OppositeSignalSettings, ...], BeforeValidator(_list)] = ()
    reverse: bool = True
    patience_seconds: Seconds = 120.0
    poll_seconds: Seconds = 5.0

    @field_validator("conflict", mode="before")
    @classmethod
    def _conflict(cls, value: object) -> object:
        return _named(from_yaml(value))
