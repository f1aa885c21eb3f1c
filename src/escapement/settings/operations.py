"""What can be set of health, metrics and notifications."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from escapement.services.announce import KINDS
from escapement.settings.fields import Count, Seconds, Section, from_yaml, no_flag, split

Port = Annotated[int, BeforeValidator(no_flag), Field(ge=1, le=65_535)]
ChannelNames = Annotated[tuple[str, ...], BeforeValidator(split)]


class OperationsSettings(Section):
    """Where ``escapement run`` serves health and metrics, and what counts as healthy; see docs/health.md."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: Port | None = None
    stale_seconds: Seconds = 90.0
    least_free_bytes: Annotated[int, BeforeValidator(no_flag), Field(ge=0)] = 1_000_000_000


class NotifySettings(Section):
    """Who is told of what, and how; see docs/notifications.md."""

    channels: Annotated[dict[str, SecretStr], BeforeValidator(from_yaml)] = Field(default_factory=dict)
    events: Annotated[dict[str, ChannelNames], BeforeValidator(from_yaml)] = Field(default_factory=dict)
    disconnect_seconds: Seconds = 30.0
    messages_per_minute: Count = 10
    timeout_seconds: Seconds = 20.0
    give_up_seconds: Seconds = 21_600.0
    poll_seconds: Seconds = 2.0

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for kind, names in self.events.items():
            if kind not in {*KINDS, "*"}:
                raise ValueError(f"{kind!r} is no event; use some of {', '.join(KINDS)}, or * for all others")
            for name in names:
                if name not in self.channels:
                    raise ValueError(f"{kind} goes to {name!r}, which is none of channels; add it there")
        return self

    def channels_of(self, kind: str) -> tuple[str, ...]:
        """Return the names of the channels that are told of a kind of event."""
        return self.events.get(kind, self.events.get("*", tuple(self.channels)))
