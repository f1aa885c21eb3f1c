"""What can be set of the dashboard."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from escapement.settings.fields import Count, Section, no_flag, split

_LOCAL: Final = "localhost"


def _hash(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not value.get_secret_value().startswith("$argon2id$"):
        raise ValueError("is no argon2id hash; make one with escapement dashboard password")
    return value


def _proxy(values: tuple[str, ...]) -> tuple[str, ...]:
    for each in values:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            raise ValueError(f"{each!r} is no address or network; write for example 10.0.0.0/8") from None
    return values


def _name(values: tuple[str, ...]) -> tuple[str, ...]:
    for each in values:
        if not each or any(character in each for character in ":/*@ "):
            raise ValueError(f"{each!r} is no host name; write for example trading.example.org, without port or path")
    return tuple(each.lower() for each in values)


PasswordHash = Annotated[SecretStr | None, AfterValidator(_hash)]


class DashboardSettings(Section):
    """Where the dashboard is served, and to whom; see docs/dashboard.md."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, BeforeValidator(no_flag), Field(ge=0, le=65_535)] = 8420
    password_hash: PasswordHash = None
    viewer_password_hash: PasswordHash = None
    names: Annotated[tuple[str, ...], BeforeValidator(split), AfterValidator(_name)] = ()
    proxies: Annotated[tuple[str, ...], BeforeValidator(split), AfterValidator(_proxy)] = ()
    session_hours: Annotated[float, BeforeValidator(no_flag), Field(gt=0, le=24 * 30)] = 12.0
    backtests_at_once: Annotated[Count, Field(le=16)] = 1

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it, as far as these settings tell."""
        if self.names or self.proxies:
            return False
        try:
            return self.host == _LOCAL or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
